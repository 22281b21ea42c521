; In 64-bit mode: PG and PAE cannot be cleared, upper halves of control registers are reserved.
%include "rom.inc"
ROM
PM32
  LONG64
  mov rax, cr0
  and eax, 0x7FFFFFFF
  TRY mov cr0, rax
  mov rax, cr4
  and eax, ~0x20
  TRY mov cr4, rax
  mov rax, cr0
  bts rax, 32
  TRY mov cr0, rax
  mov rax, cr4
  bts rax, 33
  TRY mov cr4, rax
  mov rax, cr3
  bts rax, 62
  TRY mov cr3, rax
  mov rax, cr3
  bts rax, 51
  TRY mov cr3, rax
  mov rax, 0x8000123456789ABC
  TRY mov cr2, rax
  mov rbx, cr2
  LOG "cr2", rbx
  mov eax, 0x20000001
  TRY mov cr0, rax
END
