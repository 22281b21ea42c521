; Debug registers in 64-bit mode: DR0 to DR3 take any value, the upper half of DR6 and DR7 must be 0.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  LONG64
  mov rax, 0x123456789ABCDEF0
  TRY mov dr0, rax
  mov rbx, dr0
  LOG "dr0", rbx
  mov rax, 0x100000000
  TRY mov dr6, rax
  TRY mov dr7, rax
  mov rax, 0x00000000FFFF0FF0
  TRY mov dr6, rax
  mov rbx, dr7
  LOG "dr7", rbx
  mov rbx, dr6
  LOG "dr6", rbx
  TRY db 0x44, 0x0F, 0x21, 0xC0
  TRY db 0x44, 0x0F, 0x23, 0xC0
  ; The operand size does not matter, nor does MOD.
  mov rbx, -1
  db 0x66, 0x0F, 0x21, 0xC3
  LOG "o16", rbx
  mov rbx, -1
  db 0x0F, 0x21, 0x03
  LOG "mod 0", rbx
END
