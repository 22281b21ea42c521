; One instruction that is stepped over and hits a data breakpoint: both in DR6, one trap.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 0, DATA, WRITE4
  STEP_ON
  mov dword [DATA], 1
  nop
  STEP_OFF
  BREAKS_OFF
END
