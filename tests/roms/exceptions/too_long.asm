; More than 15 bytes are #GP(0), also when the instruction would be undefined.
%include "rom.inc"
ROM
PM32
  EXPECT .a
  times 14 db 0x26
  nop
.a:
  LOG "count", [gs:COUNTER]
  EXPECT .b
  times 15 db 0x26
  nop
.b:
  EXPECT .c
  times 11 db 0x3E
  mov eax, [DATA]
.c:
  EXPECT .d
  times 14 db 0x2E
  ud2
.d:
  LOG "count", [gs:COUNTER]
END
