; Real mode checks offsets against 64 KiB: #GP (13), #SS (12) through SS.
%include "rom.inc"
ROM
  mov ebx, 0xFFFF
  TRY mov al, [bx]
  TRY mov ax, [bx]
  TRY mov [bx], ax
  mov ebp, 0xFFFF
  TRY mov ax, [bp]
  mov ebx, 0x10000
  TRY mov al, [ebx]
  mov ebp, 0x12345
  TRY mov al, [ebp]
  TRY mov eax, [dword 0xFFFD]
  TRY mov eax, [dword 0xFFFC]
  LOG "count", [gs:COUNTER]
END
