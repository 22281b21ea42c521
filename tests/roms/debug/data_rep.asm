; A breakpoint within a repeated string instruction: a trap after the iteration, EIP still at the instruction.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 0, DATA+4, WRITE2
  mov edi, DATA
  mov ecx, 8
  xor eax, eax
  rep stosb
  LOG "ecx", ecx
  mov esi, DATA+0x100
  mov edi, DATA+2
  mov ecx, 2
  rep movsd
  BREAK 0, DATA+5, RW1
  mov edi, DATA
  mov ecx, 8
  mov al, 0
  repe scasb
  LOG "ecx", ecx
  mov edi, DATA+5
  stosb
  BREAKS_OFF
END
