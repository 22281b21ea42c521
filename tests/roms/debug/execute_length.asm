; A breakpoint on execution matches the whole linear address; global and local enable bits; disabled ones do nothing.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 3, BASE+.a, EXECUTE
  mov eax, 0x400 | 0x80
  mov dr7, eax
.a:
  nop
  mov eax, 0x400 | 0x40
  mov dr7, eax
  mov ecx, 1
  jmp .a2
.a2:
  mov eax, BASE+.b
  mov dr3, eax
.b:
  nop
  mov eax, 0x400
  mov dr7, eax
  mov eax, BASE+.c
  mov dr3, eax
.c:
  nop
  ; A segment whose base makes the same linear address of another offset.
  GDTDESC FREE, BASE+0x100, 0xFFFF, 0x409B
  BREAK 0, BASE+.d, EXECUTE
  jmp FREE:.d-0x100
.d:
  nop
  jmp CODE32:.e
.e:
END
