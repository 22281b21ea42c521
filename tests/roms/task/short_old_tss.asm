; A task switch out of a TSS that cannot hold the state.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS, 0x30, 0x0089
  GDTDESC FREE+8, TSS2, 0x67, 0x0089
  mov ax, FREE
  ltr ax
  TRY jmp FREE+8:0
  LOG "descriptor", [GDT+FREE+8+4]
END
