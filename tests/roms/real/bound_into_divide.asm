; BOUND, INTO and DIV: what their handlers find in real mode.
%include "rom.inc"
ROM
  mov dword [gs:SCRATCH], 0x00200010
  mov ax, 0x10
  TRY bound ax, [gs:SCRATCH]
  mov ax, 0x0F
  TRY bound ax, [gs:SCRATCH]
  mov ax, 0x21
  TRY bound ax, [gs:SCRATCH]
  mov al, 0x7F
  add al, 1
  TRY into
  xor cx, cx
  TRY div cx
  mov ax, 0x8000
  mov dx, 0xFFFF
  mov cx, -1
  TRY idiv cx
  LOG "count", [gs:COUNTER]
END
