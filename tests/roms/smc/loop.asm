; A loop that changes its own immediate in every round.
%include "rom.inc"
%include "smc.inc"
ROM
PM32
  COPY code
  xor ebx, ebx
  mov ecx, 10
  call FREE:DATA
  LOG "sum", ebx
  LOG "last", [DATA+code.add-code+2]
  jmp done
code:
.add:
  add ebx, strict dword 0x11
  add dword [DATA+.add-code+2], 0x101
  loop .add
  retf
done:
END
