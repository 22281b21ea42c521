; A trap and a breakpoint on the instruction behind it are one exception: DR6 has both.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 0, DATA, WRITE4
  BREAK 1, BASE+.here, EXECUTE
  mov [DATA], eax
.here:
  nop
  BREAK 1, BASE+.there, EXECUTE
  STEP_ON
  nop
.there:
  nop
  STEP_OFF
  BREAKS_OFF
END
