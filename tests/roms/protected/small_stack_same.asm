; Calls and interrupts at one level on a stack too small, seen by a handler with a stack of its own. Another exception
; comes before each, so that nothing of it can be left over.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, DATA, 0xFF, 0x40F3
  GATE_LABEL GDT+FREE+8, CODE3-3, .never, 0xEC
  GDTDESC FREE+16, BASE, 0xFFFF, 0x409F
  GATE_LABEL IDT+0x20*8, FREE+16, .never, 0xEE
  RING3
  mov ax, FREE+3
  mov ss, ax
  mov esp, 6
  EXPECT .a
  call CODE3:.never
.a:
  TRY ud2
  mov esp, 6
  EXPECT .b
  call FREE+8+3:0
.b:
  TRY ud2
  mov esp, 6
  EXPECT .d
  int 0x20
.d:
  TRY ud2
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
