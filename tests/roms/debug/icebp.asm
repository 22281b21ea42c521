; INT1 (F1) traps without regard to the gate's DPL; INT 1 does not. DR6 tells nothing.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  db 0xF1
  int 1
  RING3
  db 0xF1
  TRY int 1
  STEP_ON
  db 0xF1
  nop
  STEP_OFF
END
