; A data breakpoint hit by MOV SS waits for the instruction behind it.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  mov word [DATA], FLAT
  BREAK 0, DATA, RW2
  mov ss, [DATA]
  nop
  nop
  BREAKS_OFF
END
