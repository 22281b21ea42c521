; A directory that is its own table: the entries seen through the map, with their A and D.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  mov dword [PAGES+0xFFC], PAGES+3
  PAGING_ON
  mov eax, [0xFFFFFFFC]
  LOG "self", eax
  mov eax, [0xFFC01000]
  LOG "V(0)", eax
  mov dword [0xFFC01000], F(7)+7
  mov dword [F(7)], 0x777
  mov eax, [V(0)]
  LOG "through it", eax
  LOG "self", [PAGES+0xFFC]
  LOG "directory 1", [PAGES+4]
END
