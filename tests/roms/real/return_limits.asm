; Far returns beyond 64 KiB in real mode, and far calls on a stack that ends.
%include "rom.inc"
ROM
  push dword 0xF000
  push dword 0x10000
  EXPECT .a
  o32 retf
.a:
  mov esp, STACK0
  push dword 2
  push dword 0xF000
  push dword 0x10000
  EXPECT .b
  o32 iret
.b:
  mov esp, STACK0
  LOG "count", [gs:COUNTER]
END
