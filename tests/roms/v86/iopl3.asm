; At IOPL 3 they work: IF changes, IOPL and VM do not.
%include "rom.inc"
ROM
PM32
  V86 0x3000
  sti
  pushf
  pop ax
  LOG16 "sti", ax
  cli
  pushf
  pop ax
  LOG16 "cli", ax
  push dword 0x003F0FD7 & ~0x100
  popfd
  pushfd
  pop eax
  LOG "popfd", eax
  push word 2
  popf
  push word 0x3246
  push cs
  push word .in
  iret
.in:
  pushf
  pop ax
  LOG16 "iret", ax
  push dword 0x202
  push dword 0xF000
  push dword .in2
  o32 iret
.in2:
  pushfd
  pop eax
  LOG "iretd", eax
END
