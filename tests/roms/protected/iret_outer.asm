; IRETD to outer rings: checks of CS and SS, data segments become null.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, 0, 0xFFFF, 0x4093
  mov ax, FREE
  mov es, ax
  mov ax, FLAT3
  mov fs, ax
  push dword FLAT3
  push dword STACK3
  push dword 0x3202
  push dword CODE3
  push dword .in
  iretd
.in:
  LOG16 "ds", ds
  LOG16 "es", es
  LOG16 "fs", fs
  LOGFLAGS "flags", 0x3200
  mov ax, FLAT3
  mov ds, ax
  mov gs, ax
  RING0
  push dword FLAT
  push dword STACK3
  push dword 2
  push dword CODE3
  push dword .in2
  TRY iretd
  mov esp, STACK0
  push dword FLAT3
  push dword STACK3
  push dword 2
  push dword CODE32+3
  push dword .in2
  TRY iretd
  mov esp, STACK0
  push dword 0
  push dword STACK3
  push dword 2
  push dword CODE3
  push dword .in2
  TRY iretd
  mov esp, STACK0
  push dword FLAT3
  push dword STACK3
  push dword 2
  push dword CODE3
  push dword 0x10000
  TRY iretd
.in2:
  mov esp, STACK0
END
