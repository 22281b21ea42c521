; IRET that sets TF: the first trap comes after the instruction it returns to; IRET that clears TF traps no more.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  push dword 0x102
  push dword CODE32
  push dword .a
  iretd
.a:
  nop
  push dword 2
  push dword CODE32
  push dword .b
  iretd
.b:
  nop
  nop
END
