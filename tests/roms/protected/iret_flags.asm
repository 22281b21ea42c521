; Which flags IRETD and POPFD change at rings 0 and 3.
%include "rom.inc"
ROM
PM32
  push dword 0x003C7FD7 & ~0x4100
  push dword CODE32
  push dword .a
  iretd
.a:
  pushfd
  pop eax
  LOG "ring 0", eax
  push dword 2
  popfd
  RING3
  push dword 0x003C7FD7 & ~0x4100
  push dword CODE3
  push dword .b
  iretd
.b:
  pushfd
  pop eax
  LOG "ring 3", eax
  push dword 0x003C7FD7 & ~0x4100
  popfd
  pushfd
  pop eax
  LOG "popfd", eax
  push dword 2
  popfd
  RING0
END
