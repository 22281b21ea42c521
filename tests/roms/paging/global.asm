; Global pages and CR4.PGE: INVLPG and a change of PGE drop them.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  mov dword [F(0)], 0xF0
  mov dword [F(1)], 0xF1
  mov dword [F(2)], 0xF2
  PTE 0, F(0)+0x107
  PAGING_ON
  CR4_SET 0x80
  mov eax, [V(0)]
  LOG "global", eax
  PTE 0, F(1)+0x107
  invlpg [V(0)]
  mov eax, [V(0)]
  LOG "invlpg", eax
  PTE 0, F(2)+0x107
  CR4_CLEAR 0x80
  mov eax, [V(0)]
  LOG "PGE off", eax
  PTE 0, F(0)+0x107
  FLUSH
  mov eax, [V(0)]
  LOG "PGE off, CR3", eax
  PTE 0, F(1)+0x107
  CR4_SET 0x80
  mov eax, [V(0)]
  LOG "PGE on", eax
  PTE 1, F(2)+7
  FLUSH
  mov eax, [V(1)]
  LOG "not global, CR3", eax
  LOG "entry", [PT1]
  PTE 0, F(2)+0x107
  mov eax, cr0
  and eax, 0x7FFFFFFF
  mov cr0, eax
  or eax, 0x80000000
  mov cr0, eax
  mov eax, [V(0)]
  LOG "paging off and on", eax
END
