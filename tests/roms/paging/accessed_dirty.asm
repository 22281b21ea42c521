; The A and D flags: set by what was done, not by what faulted; a directory entry has no D.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  WP 1
  PTE 4, F(4)+5
  PTE 5, F(5)+3
  PTE 6, F(6)+7
  PTE 7, F(7)+7
  PAGING_ON
  LOG "directory before", [PAGES+4]
  mov eax, [V(1)]
  LOG "read", [PT1+1*4]
  mov [V(2)], eax
  LOG "written", [PT1+2*4]
  mov eax, [V(3)]
  mov [V(3)], eax
  LOG "read, then written", [PT1+3*4]
  LOG "directory", [PAGES+4]
  TRY mov [V(4)], eax
  LOG "read-only", [PT1+4*4]
  RING3
  TRY mov eax, [V(5)]
  RING0
  LOG "supervisor", [PT1+5*4]
  mov eax, 0x12345678
  cmpxchg [V(6)], ecx
  LOG "cmpxchg unequal", [PT1+6*4]
  bt dword [V(7)], 1
  LOG "bt", [PT1+7*4]
  invlpg [V(8)]
  LOG "invlpg", [PT1+8*4]
  lea eax, [V(8)]
  prefetchnta [V(8)]
  mov eax, [V(9)+0xFFD]
  LOG "straddling, low", [PT1+9*4]
  LOG "straddling, high", [PT1+10*4]
  and dword [PT1+2*4], ~0x60
  FLUSH
  mov eax, [V(2)]
  LOG "cleared, then read", [PT1+2*4]
END
