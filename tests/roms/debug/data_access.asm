; Breakpoints on reading or writing data, but not on fetching; reads of read-modify-write instructions.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 1, DATA, RW4
  mov eax, [DATA]
  mov [DATA+2], al
  cmp byte [DATA+3], 0
  test [DATA-3], eax
  test [DATA-4], eax
  lea eax, [DATA]
  push dword [DATA]
  pop dword [DATA]
  bt dword [DATA], 3
  xchg eax, [DATA]
  mov esi, DATA
  lodsb
  mov edi, DATA
  scasb
  fninit
  fld dword [DATA]
  fstp st0
  BREAK 1, BASE+.here, RW1
.here:
  nop
  mov al, [cs:.here]
  BREAKS_OFF
END
