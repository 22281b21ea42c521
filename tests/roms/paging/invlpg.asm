; INVLPG drops one page's translation; a page that becomes present needs none.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  mov dword [F(0)], 0xF0
  mov dword [F(1)], 0xF1
  mov dword [F(2)], 0xF2
  PTE 1, 0
  PAGING_ON
  mov eax, [V(0)]
  LOG "before", eax
  PTE 0, F(2)+7
  invlpg [V(0)+0x123]
  mov eax, [V(0)]
  LOG "after", eax
  TRY mov eax, [V(1)]
  PTE 1, F(1)+7
  TRY mov eax, [V(1)]
  LOG "made present", eax
  PTE 2, F(2)+5
  invlpg [V(2)]
  WP 1
  TRY mov [V(2)], eax
  ; More rights need no INVLPG: the fault's entry is looked up again.
  PTE 2, F(2)+7
  TRY mov [V(2)], eax
  TRY db 0x0F, 0x01, 0xF8
  RING3
  TRY invlpg [V(0)]
  RING0
  mov dword [PAGES+4], 0
  FLUSH
  TRY invlpg [V(0)]
  TRY mov eax, [V(0)]
END
