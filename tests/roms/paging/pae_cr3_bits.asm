; Under PAE the pointers lie at bits 31 to 5 of CR3; PWT and PCD are kept.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES_PAE 7
  mov dword [PAGES+0x20], PAGES+0x1001
  mov dword [PAGES], 0
  mov eax, PAGES+0x38
  mov cr3, eax
  mov dword [F(0)], 0x1234
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  mov eax, [V(0)]
  LOG "read", eax
  LOG "cr3", cr3
END
