; Breakpoints on what instructions push and pop.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 0, STACK3-4, RW4
  RING3
  push eax
  pop eax
  call .a
.a:
  add esp, 4
  push dword .b
  ret
.b:
  pushfd
  popfd
  pushad
  popad
  enter 4, 0
  leave
  push dword [STACK3-4]
  RING0
  BREAKS_OFF
END
