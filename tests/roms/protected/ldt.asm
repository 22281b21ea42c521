; LLDT and selectors of the LDT.
%include "rom.inc"
ROM
PM32
  LDTDESC 0x04, DATA, 0xFFF, 0x4093
  LDTDESC 0x0C, DATA, 0xFFF, 0x4093
  mov ax, 0x0C
  TRY mov es, ax
  mov ax, MAINLDT
  lldt ax
  sldt bx
  LOG16 "ldtr", bx
  mov ax, 0x0C
  TRY mov es, ax
  mov dword [es:0x10], 0x77
  LOG "data", [DATA+0x10]
  LOG "accessed", [LDT+12]
  mov ax, 0x204
  TRY mov es, ax
  mov ax, FLAT
  TRY lldt ax
  mov ax, MAINLDT+4
  TRY lldt ax
  mov ax, 0x3F8
  TRY lldt ax
  and byte [GDT+MAINLDT+5], 0x7F
  mov ax, MAINLDT
  TRY lldt ax
  xor ax, ax
  TRY lldt ax
  mov ax, 0x0C
  TRY mov es, ax
END
