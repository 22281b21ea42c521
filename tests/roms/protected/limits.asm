; Byte and page granular limits, through data segments and the stack.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, DATA, 0xFF, 0x4093
  GDTDESC FREE+8, DATA, 0, 0xC093
  mov ax, FREE
  mov es, ax
  mov ax, FREE+8
  mov fs, ax
  TRY mov al, [es:0xFF]
  TRY mov al, [es:0x100]
  TRY mov ax, [es:0xFF]
  TRY mov eax, [es:0xFC]
  TRY mov eax, [es:0xFD]
  TRY mov eax, [es:0xFFFFFFFE]
  TRY mov al, [fs:0xFFF]
  TRY mov al, [fs:0x1000]
  TRY mov [fs:0xFFD], eax
  GDTDESC FREE+16, DATA, 0xFF, 0x40F3
  RING3
  mov ax, FREE+16+3
  mov ss, ax
  mov esp, 0x100
  push eax
  mov esp, 2
  EXPECT out
  push eax
out:
  mov esp, 0x104
  TRY pop eax
  mov ebp, 0xFE
  TRY mov eax, [ebp]
  TRY mov ax, [ebp]
  RING0
END
