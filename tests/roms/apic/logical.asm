; Logical destinations, flat model: the bit of LDR; shorthand of all including self.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  APIC_WRITE DFR, 0xFFFFFFFF
  APIC_WRITE LDR, 0x02000000
  sti
  PRINT {"another bit", 10}
  APIC_WRITE ICR+0x10, 0x04000000
  APIC_WRITE ICR, 0x841
  nop
  nop
  PRINT {"our bit", 10}
  APIC_WRITE ICR+0x10, 0x06000000
  APIC_WRITE ICR, 0x841
  nop
  nop
  PRINT {"physical", 10}
  APIC_WRITE ICR+0x10, 0
  APIC_WRITE ICR, 0x62
  nop
  nop
  PRINT {"all", 10}
  APIC_WRITE ICR, 0x80072
  nop
  nop
  PRINT {"others", 10}
  APIC_WRITE ICR, 0xC0072
  nop
  nop
  PRINT {"cluster", 10}
  APIC_WRITE DFR, 0x0FFFFFFF
  APIC_WRITE LDR, 0x32000000
  APIC_WRITE ICR+0x10, 0x33000000
  APIC_WRITE ICR, 0x841
  nop
  nop
  APIC_WRITE ICR+0x10, 0x22000000
  APIC_WRITE ICR, 0x841
  nop
  nop
  cli
END
