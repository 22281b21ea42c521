; LTR and LLDT in long mode read descriptors of 16 bytes.
%include "rom.inc"
ROM
PM32
  LONG64
  GDTDESC FREE, 0x3000, 0x67, 0x0089
  mov dword [GDT+FREE+8], 0x12
  mov dword [GDT+FREE+12], 0
  mov ax, FREE
  TRY ltr ax
  LOG16 "access", [GDT+FREE+5]
  GDTDESC FREE+16, 0x3000, 0x2B, 0x0081
  mov qword [GDT+FREE+24], 0
  mov ax, FREE+16
  TRY ltr ax
  mov ax, MAINLDT
  mov qword [GDT+MAINLDT+8], 0
  TRY lldt ax
  mov qword [GDT+MAINLDT+8], 0x8000
  TRY lldt ax
  sldt ax
  LOG16 "ldtr", ax
END
