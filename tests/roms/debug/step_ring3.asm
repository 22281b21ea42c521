; Single step in ring 3: over an INT to ring 0, and over instructions that fault.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  GATE_LABEL IDT+0x41*8, CODE32, handler, 0xEE
  RING3
  STEP_ON
  nop
  int 0x41
  nop
  EXPECT .a
  cli
.a:
  nop
  STEP_OFF
  jmp done
handler:
  nop
  iretd
done:
END
