; LTR: types, busy bit, presence.
%include "rom.inc"
ROM
PM32
  str ax
  LOG16 "tr", ax
  LOG "descriptor", [GDT+MAINTSS+4]
  mov ax, MAINTSS
  TRY ltr ax
  GDTDESC FREE, TSS2, 0x67, 0x0009
  mov ax, FREE
  TRY ltr ax
  GDTDESC FREE, TSS2, 0x67, 0x0089
  TRY ltr ax
  LOG "descriptor", [GDT+FREE+4]
  str ax
  LOG16 "tr", ax
  mov ax, FLAT
  TRY ltr ax
  xor ax, ax
  TRY ltr ax
  mov ax, MAINLDT
  TRY ltr ax
  mov ax, FREE+4
  TRY ltr ax
  GDTDESC FREE+8, TSS2, 0x2B, 0x0081
  mov ax, FREE+8
  TRY ltr ax
  LOG "16-bit", [GDT+FREE+12]
  mov ax, MAINTSS
  and byte [GDT+MAINTSS+5], 0xFD
  ltr ax
  RING3
  TRY ltr ax
  TRY str ax
END
