; Far transfers in virtual-8086 mode check the limit.
%include "rom.inc"
ROM
PM32
  V86 0x3000
  EXPECT .a
  jmp dword 0xF000:0x10000
.a:
  push cs
  push word .b
  retf
.b:
  LOG16 "cs", cs
  call 0xF000:.c
  LOG16 "sp", sp
  jmp .end
.c:
  retf
.end:
END
