; A repeated string instruction traps after each iteration.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  mov edi, DATA
  mov ecx, 3
  xor eax, eax
  STEP_ON
  rep stosd
  nop
  STEP_OFF
  LOG "ecx", ecx
  STEP_ON
  rep stosd
  nop
  STEP_OFF
  mov edi, DATA
  mov ecx, 5
  mov byte [DATA+1], 7
  mov al, 7
  STEP_ON
  repne scasb
  STEP_OFF
  LOG "ecx", ecx
END
