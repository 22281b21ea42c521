; Data across two pages: CR2 names the byte that is missing, and nothing is written.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  WP 1
  mov dword [F(0)+0xFFC], 0x11111111
  mov dword [F(2)], 0x22222222
  mov dword [F(3)+0xFFC], 0x33333333
  PTE 1, F(1)+6
  PTE 3, F(3)+5
  PAGING_ON
  TRY mov dword [V(0)+0xFFE], -1
  LOG "kept", [F(0)+0xFFC]
  TRY mov eax, [V(0)+0xFFD]
  TRY mov eax, [V(1)+0xFFF]
  TRY mov dword [V(1)+0xFFE], -1
  LOG "kept", [F(2)]
  TRY mov dword [V(2)+0xFFE], -1
  TRY mov dword [V(3)+0xFFE], -1
  LOG "kept", [F(3)+0xFFC]
  TRY add dword [V(2)+0xFFE], 1
  TRY xchg [V(0)+0xFFF], ax
  TRY fld qword [V(0)+0xFFA]
  TRY fld tword [V(0)+0xFFA]
  TRY movntq [V(0)+0xFFA], mm0
  TRY cmpxchg8b [V(0)+0xFFC]
END
