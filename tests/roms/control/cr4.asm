; CR4: reserved bits are refused; PAE and PGE may change while paging is off.
%include "rom.inc"
ROM
PM32
%assign bit 24
%rep 8
  mov eax, 1 << bit
  TRY mov cr4, eax
%assign bit bit+1
%endrep
  mov eax, 1 << 15
  TRY mov cr4, eax
  mov eax, 0x6B8
  TRY mov cr4, eax
  LOG "cr4", cr4
  xor eax, eax
  TRY mov cr4, eax
  LOG "cr4", cr4
END
