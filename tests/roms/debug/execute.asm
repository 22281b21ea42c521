; Breakpoints on execution: a fault before the instruction, at its first byte, prefixes included; RF lets it run.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 0, BASE+.a, EXECUTE
  BREAK 1, BASE+.b+1, EXECUTE
  BREAK 2, BASE+.c, EXECUTE
  xor ebx, ebx
.a:
  inc ebx
.b:
  mov ecx, 5
.c:
  rep stosb
  cmp ebx, 3
  jb .a
  BREAKS_OFF
  LOG "ebx", ebx
  jmp .a2
.a2:
END
