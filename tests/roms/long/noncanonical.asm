; Addresses that are not canonical: #SS through RSP and RBP, #GP elsewhere.
%include "rom.inc"
ROM
PM32
  LONG64
  mov rbx, 0x0000800000000000
  TRY mov rax, [rbx]
  TRY mov [rbx], al
  mov rbp, rbx
  TRY mov rax, [rbp]
  TRY mov rax, [rbp+rax*1]
  TRY mov rax, [ds:rbp]
  mov rbx, 0x00007FFFFFFFFFFD
  TRY mov rax, [rbx]
  mov rbp, rbx
  TRY mov eax, [rbp]
  TRY jmp rbp
  mov rax, 0x8000000000000000
  TRY jmp rax
  TRY call rax
  push rax
  EXPECT .next
  ret
.next:
  mov rsp, STACK0
  TRY lea rax, [rax]
  mov rsi, 0x800000000000
  TRY lodsb
  mov rdi, rsi
  TRY stosb
END
