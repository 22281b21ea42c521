; Breakpoints in virtual-8086 mode are linear.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 0, DATA+4, WRITE2
  BREAK 1, BASE+.here, EXECUTE
  V86 0x3000
  mov ax, DATA >> 4
  mov ds, ax
  mov [2], ax
  mov [3], ax
  nop
.here:
  nop
  mov ax, (DATA >> 4) - 1
  mov ds, ax
  mov [0x14], al
  V86_END
  BREAKS_OFF
END
