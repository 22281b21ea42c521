; LAR, LSL, VERR, VERW over the descriptor types, from rings 0 and 3.
%include "rom.inc"
ROM
PM32
%assign i 0
%rep 16
  GDTDESC FREE+i*8, 0x1000, 0x4321, 0x8080 | i
  GDTDESC FREE+128+i*8, 0x1000, 0x4321, 0x80D0 | i
%assign i i+1
%endrep
  mov ecx, FREE
.next:
  xor eax, eax
  lar eax, ecx
  setz bl
  xor edx, edx
  lsl edx, ecx
  setz bh
  verr cx
  setz [SCRATCH]
  verw cx
  setz [SCRATCH+1]
  LOG "lar", eax
  LOG "lsl", edx
  movzx ebx, bx
  LOG "zf", ebx
  LOG16 "verr verw", [SCRATCH]
  add ecx, 8
  cmp ecx, FREE+256
  jb .next
  mov ecx, 0x3FF8
  lar eax, ecx
  setz bl
  lsl eax, ecx
  setz bh
  movzx ebx, bx
  LOG "beyond", ebx
END
