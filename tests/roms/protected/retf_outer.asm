; RETF n to ring 3 releases parameters on both stacks.
%include "rom.inc"
ROM
PM32
  mov ebx, esp
  push dword FLAT3
  push dword STACK3
  push dword 0x55
  push dword 0x66
  push dword CODE3
  push dword .in
  retf 8
.in:
  LOG "esp", esp
  LOG16 "cs", cs
  LOG16 "ds", ds
  mov ax, FLAT3
  mov ds, ax
  mov gs, ax
  RING0
  push dword FLAT3
  push dword STACK3
  push dword CODE3
  push dword 0x20000
  TRY retf
  mov esp, STACK0
  push dword CODE32
  push dword 0x20000
  TRY retf
  mov esp, STACK0
  push dword 0
  push dword .x
  TRY retf
.x:
  mov esp, STACK0
END
