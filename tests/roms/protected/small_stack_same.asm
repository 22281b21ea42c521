; Calls at one level on a stack too small, seen by a handler with a stack of its own.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, DATA, 0xFF, 0x40F3
  GATE_LABEL GDT+FREE+8, CODE3-3, .never, 0xEC
  RING3
  mov ax, FREE+3
  mov ss, ax
  mov esp, 6
  EXPECT .a
  call CODE3:.never
.a:
  mov esp, 6
  EXPECT .b
  call FREE+8+3:0
.b:
  mov esp, 6
  EXPECT .c
  call .never
.c:
  RING0
  jmp .end
.never:
  PRINT {"never", 10}
.end:
END
