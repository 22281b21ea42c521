; SGDT, SIDT, LGDT and LIDT in 64-bit mode: ten bytes whatever the prefix, canonical bases only.
%include "rom.inc"
ROM
PM32
  LONG64
  mov qword [abs DATA+8], -1
  sgdt [abs DATA]
  mov rax, [abs DATA]
  LOG "gdt", rax
  mov rax, [abs DATA+8]
  LOG "behind", rax
  mov qword [abs DATA+8], -1
  db 0x66
  sidt [abs DATA]
  mov rax, [abs DATA]
  LOG "idt", rax
  mov rax, [abs DATA+8]
  LOG "behind", rax
  mov word [abs DATA], 0x3FF
  mov rax, 0x0000800000001000
  mov [abs DATA+2], rax
  TRY lgdt [abs DATA]
  TRY lidt [abs DATA]
  mov qword [abs DATA+2], GDT
  TRY lgdt [abs DATA]
  mov rax, -1
  sldt rax
  LOG "sldt", rax
  mov rax, -1
  str eax
  LOG "str", rax
  mov rax, -1
  str ax
  LOG "str 16", rax
  mov rax, -1
  smsw rax
  LOG "smsw", rax
END
