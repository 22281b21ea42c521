; STI does not hold back a trap; LSS neither; MOV SS and POP SS do. Two in a row: only the first holds back.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  mov dword [DATA], STACK0
  mov word [DATA+4], FLAT
  mov ax, ss
  STEP_ON
  sti
  cli
  lss esp, [DATA]
  nop
  mov ss, ax
  nop
  nop
  push ss
  pop ss
  nop
  nop
  mov ds, ax
  nop
  STEP_OFF
END
