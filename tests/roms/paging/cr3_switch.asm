; Two address spaces: MOV to CR3 changes what an address means; low bits PWT and PCD are kept, others ignored.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  mov esi, PAGES
  mov edi, PAGES+0x4000
  mov ecx, 0x400
  rep movsd
  mov esi, PT1
  mov edi, PAGES+0x5000
  mov ecx, 0x400
  rep movsd
  mov dword [PAGES+0x4004], PAGES+0x5007
  mov dword [PAGES+0x5000], F(9)+7
  mov dword [F(0)], 0xA
  mov dword [F(9)], 0xB
  PAGING_ON
  mov eax, [V(0)]
  LOG "first", eax
  mov eax, PAGES+0x4018
  mov cr3, eax
  LOG "cr3", cr3
  mov eax, [V(0)]
  LOG "second", eax
  mov eax, PAGES
  mov cr3, eax
  mov eax, [V(0)]
  LOG "first", eax
  mov eax, PAGES+0x4000
  mov cr3, eax
  mov eax, [V(0)]
  LOG "second", eax
END
