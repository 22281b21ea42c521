; Code ahead written by REP MOVSB, STOSB, and by a push.
%include "rom.inc"
%include "smc.inc"
ROM
PM32
  COPY code
  mov esi, new
  xor ebx, ebx
  call FREE:DATA
  LOG "ebx", ebx
  COPY code2
  xor ebx, ebx
  call FREE:DATA
  LOG "ebx", ebx
  jmp done
code:
  inc ebx
  add esi, BASE
  mov edi, DATA+.target-code
  mov ecx, 3
  rep movsb
.target:
  add ebx, 1
  add ebx, 0x100
  retf
new:
  add ebx, 0x20
code2:
  mov edx, esp
  mov esp, DATA+.target-code2+4
  push dword 0x90909043
  mov esp, edx
.target:
  add ebx, 0x7F
  nop
  retf
done:
END
