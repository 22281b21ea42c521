; TPR keeps back the classes up to its own; PPR is the higher of TPR and what is in service.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  APIC_WRITE TPR, 0x4F
  LOG "tpr", [APIC+TPR]
  LOG "ppr", [APIC+PPR]
  APIC_WRITE ICR, SELF | 0x41
  APIC_WRITE ICR, SELF | 0x62
  sti
  nop
  nop
  LOG "irr", [APIC+IRR+0x20]
  APIC_WRITE TPR, 0x3F
  nop
  nop
  LOG "irr", [APIC+IRR+0x20]
  cli
  APIC_WRITE TPR, 0x8A
  GATE_LABEL IDT+0x72*8, CODE32, inside, 0x8E
  APIC_WRITE ICR, SELF | 0x72
  sti
  nop
  nop
  APIC_WRITE TPR, 0x25
  nop
  nop
  cli
  LOG "ppr", [APIC+PPR]
  jmp done
inside:
  LOG "ppr", [APIC+PPR]
  APIC_WRITE TPR, 0x92
  LOG "ppr", [APIC+PPR]
  APIC_WRITE TPR, 0x71
  LOG "ppr", [APIC+PPR]
  APIC_WRITE TPR, 0x25
  APIC_WRITE EOI, 0
  iretd
done:
END
