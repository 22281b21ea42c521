; WP and SMEP in 64-bit mode.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  LONG64
  PAGES_LONG
  mov byte [F(0)], 0xC3
  PTE 1, F(1)+3
  mov byte [F(1)], 0xC3
  PTE 2, F(2)+5
  mov rbx, PD
  mov byte [rbx], 0x83
  FLUSH
  call .go
  CR4_SET 0x100000
  call .go
  WP 1
  call .go
  jmp .done
.go:
  mov r12, rsp
  mov ebx, V(0)
  EXPECT .a
  call rbx
.a:
  mov rsp, r12
  mov ebx, V(1)
  call rbx
  TRY mov [V(2)], eax
  ret
.done:
END
