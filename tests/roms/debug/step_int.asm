; INT n, INT3 and exceptions clear TF for their handlers; the trap comes after the instruction behind the return.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  GATE_LABEL IDT+0x41*8, CODE32, handler, 0x8E
  GATE_LABEL IDT+0x42*8, CODE32, handler, 0x8F
  STEP_ON
  int 0x41
  nop
  int 0x42
  nop
  STEP_OFF
  LOG "flags inside", [DATA]
  EXPECT .a
  STEP_ON
  ud2
.a:
  nop
  STEP_OFF
  EXPECT .b
  STEP_ON
  int3
.b:
  nop
  STEP_OFF
  jmp done
handler:
  pushfd
  pop dword [DATA]
  iretd
done:
END
