; CR0.WP: whether ring 0 may write to read-only pages; takes effect at once, in both directions.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  PTE 1, F(1)+5
  PTE 2, F(2)+1
  PAGING_ON
  mov dword [V(1)], 1
  mov dword [V(2)], 2
  WP 1
  TRY mov dword [V(1)], 3
  TRY mov dword [V(2)], 3
  TRY xor dword [V(2)], 0
  WP 0
  TRY mov dword [V(1)], 4
  WP 1
  TRY mov dword [V(1)], 5
  LOG "1", [V(1)]
  LOG "2", [V(2)]
  LOG "entry 1", [PT1+4]
  LOG "entry 2", [PT1+8]
END
