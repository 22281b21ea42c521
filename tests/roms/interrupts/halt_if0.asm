; HLT ends with an interrupt only; the return address is behind it. Twice in a row.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  APIC_WRITE DIVIDE, 0xB
  APIC_WRITE LVT_TIMER, 0x41
  APIC_WRITE INITIAL, 3000
  sti
  hlt
after:
  APIC_WRITE INITIAL, 3000
  hlt
after2:
  cli
  LOG "behind", dword after
  LOG "behind", dword after2
  RING3
  TRY hlt
  RING0
END
