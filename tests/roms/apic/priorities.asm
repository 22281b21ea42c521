; Of several that wait the highest vector comes first, and one of a lower class waits for the EOI.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  ; Of the manual's freedom to answer with the spurious vector nothing is to be seen.
  GATE_LABEL IDT+0x4F*8, CODE32, spurious, 0x8E
  APIC_WRITE SVR, 0x14F
  APIC_WRITE ICR, SELF | 0x41
  APIC_WRITE ICR, SELF | 0x72
  APIC_WRITE ICR, SELF | 0x62
  APIC_WRITE ICR, SELF | 0x62
  sti
  nop
  nop
  cli
  GATE_LABEL IDT+0x6F*8, CODE32, last, 0x8E
  GATE_LABEL IDT+0x62*8, CODE32, middle, 0x8E
  APIC_WRITE ICR, SELF | 0x62
  sti
  nop
  nop
  cli
  jmp done
middle:
  PRINT {"middle", 10}
  APIC_WRITE ICR, SELF | 0x41
  APIC_WRITE ICR, SELF | 0x6F
  sti
  nop
  nop
  LOG "irr 4", [APIC+IRR+0x20]
  LOG "irr 6", [APIC+IRR+0x30]
  LOG "isr", [APIC+ISR+0x30]
  APIC_WRITE ICR, SELF | 0x72
  nop
  cli
  LOG "ppr", [APIC+PPR]
  APIC_WRITE EOI, 0
  iretd
spurious:
  iretd
last:
  PRINT {"last", 10}
  APIC_WRITE EOI, 0
  iretd
done:
END
