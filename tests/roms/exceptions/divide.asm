; Divide errors of each width, and that nothing changes.
%include "rom.inc"
ROM
PM32
  mov eax, 0x12345678
  mov edx, 0x9ABCDEF0
  xor ecx, ecx
  TRY div ecx
  TRY div cl
  TRY idiv cx
  LOG "eax", eax
  LOG "edx", edx
  mov ax, 0x8000
  mov cl, -1
  TRY idiv cl
  mov eax, 0x80000000
  mov edx, -1
  mov ecx, -1
  TRY idiv ecx
  aam 10
  TRY db 0xD4, 0
END
