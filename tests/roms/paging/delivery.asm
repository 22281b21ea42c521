; A page fault while an exception is delivered: #DF out of another page fault, a plain #PF out of a benign one.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  ; The IDT at the end of V(0): vectors up to 15 in it, the others in V(1), which is missing.
  mov esi, IDT
  mov edi, F(0)+0x1000-15*8
  mov ecx, 0x100
  rep movsd
  PTE 1, F(1)+6
  sub esp, 8
  mov word [esp], 0x3FF
  mov dword [esp+2], V(0)+0x1000-15*8
  lidt [esp]
  add esp, 8
  PAGING_ON
  TRY int 17
  EXPECT .a
  int3
.a:
  ; The gate of #PF leads to a missing page: #DF with error code 0.
  mov esi, IDT
  mov edi, V(0)+0x1000-14*8
  mov ecx, 14*2
  rep movsd
  sub esp, 8
  mov word [esp], 0x3FF
  mov dword [esp+2], V(1)-14*8
  lidt [esp]
  add esp, 8
  TRY mov eax, [V(1)]
  ; As does an interrupt whose gate is missing together with that of #PF.
  TRY int 17
END
