; Direct far jumps: type, privilege, presence, limit.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, BASE, 0xFFFF, 0x409B
  GDTDESC FREE+8, BASE, 0xFFFF, 0x409F
  GDTDESC FREE+16, BASE, 0xFFFF, 0x401B
  GDTDESC FREE+24, BASE, 0xFFFF, 0x40FB
  GDTDESC FREE+32, BASE, 0x00FF, 0x409B
  GDTDESC FREE+40, BASE, 0xFFFF, 0x40FF
  GDTDESC FREE+48, BASE, 0xFFFF, 0x4093
%assign i 0
%rep 7
  mov dword [SCRATCH], .in %+ i
  mov word [SCRATCH+4], FREE+i*8
  EXPECT .in %+ i
  jmp far [SCRATCH]
.in %+ i:
  LOG16 "cs", cs
%assign i i+1
%endrep
  mov word [SCRATCH+4], FREE+3
  EXPECT .a
  jmp far [SCRATCH]
.a:
  mov word [SCRATCH+4], 0
  EXPECT .b
  jmp far [SCRATCH]
.b:
  mov word [SCRATCH+4], 0x408
  EXPECT .c
  jmp far [SCRATCH]
.c:
  LOG16 "cs", cs
END
