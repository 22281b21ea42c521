; ESR: illegal vectors sent, illegal registers; what is read is what a write latched.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  APIC_WRITE ESR, 0
  LOG "esr", [APIC+ESR]
  APIC_WRITE ICR, SELF | 0x05
  LOG "before the write", [APIC+ESR]
  APIC_WRITE ESR, 0
  mov eax, [APIC+ESR]
  and eax, 0x20
  LOG "send illegal vector", eax
  APIC_WRITE ESR, 0
  LOG "cleared", [APIC+ESR]
END
