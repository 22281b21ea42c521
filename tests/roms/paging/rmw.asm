; Instructions that read and write report a write, also where they would write the same, or nothing.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  WP 1
  PTE 0, F(0)+6
  PTE 1, F(1)+5
  PAGING_ON
%assign page 0
%rep 2
  TRY inc byte [V(page)]
  TRY add dword [V(page)], 0
  TRY not word [V(page)]
  TRY xchg eax, [V(page)]
  TRY lock cmpxchg [V(page)], eax
  TRY cmpxchg8b [V(page)]
  TRY xadd [V(page)], eax
  TRY bts dword [V(page)], 0
  TRY bt dword [V(page)], 0
  TRY shl byte [V(page)], 1
  mov cl, 0
  TRY shl dword [V(page)], cl
  TRY setc [V(page)]
  TRY cmp dword [V(page)], 0
  TRY test byte [V(page)], 1
  mov edi, V(page)
  TRY stosb
  TRY fnstcw [V(page)]
  TRY sgdt [V(page)]
  TRY smsw [V(page)]
  TRY pop dword [V(page)]
  mov esp, STACK0
  TRY mul dword [V(page)]
  TRY cmovc eax, [V(page)]
  clc
  TRY cmovc eax, [V(page)]
%assign page page+1
%endrep
END
