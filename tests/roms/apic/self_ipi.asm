; An interrupt sent to oneself: pending in IRR while IF is 0, in ISR until EOI; STI holds it back for one instruction.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  APIC_WRITE ICR, SELF | 0x41
  LOG "icr", [APIC+ICR]
  LOG "irr", [APIC+IRR+0x20]
  LOG "isr", [APIC+ISR+0x20]
  nop
  sti
  inc eax
  inc eax
  cli
  LOG "irr", [APIC+IRR+0x20]
  GATE_LABEL IDT+0x41*8, CODE32, inside, 0x8E
  APIC_WRITE ICR, SELF | 0x41
  sti
  nop
  nop
  cli
  jmp done
inside:
  LOG "irr", [APIC+IRR+0x20]
  LOG "isr", [APIC+ISR+0x20]
  LOG "ppr", [APIC+PPR]
  APIC_WRITE EOI, 0
  LOG "isr", [APIC+ISR+0x20]
  LOG "ppr", [APIC+PPR]
  iretd
done:
END
