; In 64-bit mode bases and limits of CS, DS, ES, SS do not count; FS and GS have bases; null SS.
%include "rom.inc"
ROM
PM32
  LONG64
  GDTDESC FREE, 0x1000, 0, 0x0093
  mov ax, FREE
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov qword [DATA], 0x1122334455667788
  TRY mov rax, [ds:DATA]
  LOG "ds", rax
  push rax
  pop rax
  mov ax, FREE
  mov fs, ax
  TRY mov rax, [fs:DATA-0x1000]
  LOG "fs", rax
  mov ecx, 0xC0000100
  rdmsr
  LOG "fs base", rax
  xor edx, edx
  mov eax, 8
  wrmsr
  mov dword [DATA+8], 0x77
  LOG "fs base 8", [fs:DATA]
  mov edx, 0x8000
  TRY wrmsr
  xor ax, ax
  mov ss, ax
  LOG16 "ss", ss
  mov ax, 3
  TRY mov ss, ax
  mov ax, FREE+8
  TRY mov ds, ax
  TRY db 0x06
  TRY db 0x62
  TRY db 0xEA
  TRY db 0x9A
  TRY db 0xD5, 0x0A
  TRY db 0x60
  TRY db 0xCE
END
