; ARPL.
%include "rom.inc"
ROM
PM32
  mov ax, 0x1230
  mov bx, 3
  arpl ax, bx
  setz cl
  movzx ecx, cl
  LOG "ax", eax
  LOG "zf", ecx
  arpl ax, bx
  setz cl
  movzx ecx, cl
  LOG16 "ax", ax
  LOG "zf", ecx
  mov bx, 1
  arpl [SCRATCH], bx
  LOG16 "memory", [SCRATCH]
END
