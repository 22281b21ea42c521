; Single step and breakpoints in 64-bit mode.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  LONG64
  DEBUG64
  BREAK 0, BASE+here, EXECUTE
  BREAK 1, DATA, WRITE8
here:
  nop
  mov byte [abs DATA+7], 0
  mov byte [abs DATA+8], 0
  mov qword [abs DATA-4], 0
  BREAK 1, DATA+5, RW4
  mov eax, [abs DATA+2]
  STEP_ON
  nop
  mov rcx, 2
.again:
  loop .again
  mov rax, [abs DATA]
  swapgs
  swapgs
  STEP_OFF
  BREAKS_OFF
END
