; Single step in virtual-8086 mode: the frame is the mode's, TF is off in the handler.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  V86 0x3100
  mov ax, 5
  nop
  pushf
  pop bx
  push word 0x3002
  popf
  nop
  V86_END
  movzx ebx, bx
  LOG "flags in V86", ebx
END
