; A 16-bit stack wraps within its segment; a word at FFFFH does not fit.
%include "rom.inc"
ROM
  mov sp, 0
  push word 0x1234
  LOG16 "sp", sp
  mov sp, 2
  pop ax
  mov sp, 0
  push ax
  LOG16 "sp again", sp
  mov sp, 4
  EXPECT after
  push dword 0x11223344
  LOG16 "sp dword", sp
after:
  mov sp, 1
  mov ax, sp
  mov esp, STACK0
  LOG16 "one", ax
END
