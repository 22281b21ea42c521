; What a page fault leaves as it was: ESP, and memory that the instruction would have written.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  PTE 1, F(1)+6
  mov dword [F(2)], 0x1234
  PAGING_ON
  ; The stack's next page down is missing: the handler runs on the same stack, so it must not be ESP.
  mov eax, 0x5A5A
  RING3
  mov ebx, esp
  mov esp, V(2)
  TRY push eax
  mov ecx, esp
  mov esp, ebx
  LOG "push", ecx
  mov esp, V(2)
  TRY push dword [V(1)]
  mov ecx, esp
  mov esp, ebx
  LOG "push m", ecx
  mov esp, V(2)+16
  TRY pushad
  mov ecx, esp
  mov esp, ebx
  LOG "pushad", ecx
  mov esp, V(2)
  TRY call .x
.x:
  mov ecx, esp
  mov esp, ebx
  LOG "call", ecx
  mov esp, V(2)
  mov ebp, 0x77
  TRY enter 8, 0
  mov ecx, esp
  mov esp, ebx
  LOG "enter", ecx
  LOG "ebp", ebp
  mov esp, V(2)-4
  TRY pop eax
  mov ecx, esp
  mov esp, ebx
  LOG "pop", ecx
  mov esp, V(2)
  TRY pop dword [V(1)]
  mov ecx, esp
  mov esp, ebx
  LOG "pop m", ecx
  mov ebp, V(1)+8
  mov esp, V(2)
  TRY leave
  mov ecx, esp
  mov esp, ebx
  LOG "leave", ecx
  LOG "ebp", ebp
  LOG "eax", eax
END
