; 16-bit call gates push and copy words.
%include "rom.inc"
ROM
PM32
  GATE_LABEL GDT+FREE, CODE32, .inner, 0xE4
  mov byte [GDT+FREE+4], 2
  RING3
  push word 0x1111
  push word 0x2222
  mov ebx, esp
  call FREE+3:0
  LOG "esp3", esp
  RING0
  jmp .end
.inner:
  mov ebp, esp
  LOG "esp", esp
  LOG "cs:ip", [ebp]
  LOG "params", [ebp+4]
  LOG "ss:sp", [ebp+8]
  o16 retf 4
.end:
END
