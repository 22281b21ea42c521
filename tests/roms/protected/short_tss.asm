; A TSS too short for the stack of ring 1, 32 bits and 16 bits; too short for an I/O bitmap.
%include "rom.inc"
ROM
PM32
  GATE_LABEL GDT+FREE, CODE1-1, .inner, 0xEC
  GDTDESC FREE+8, TSS, 0x0B, 0x0089
  GDTDESC FREE+16, TSS2, 0x05, 0x0081
  mov word [TSS2+2], STACK0
  mov word [TSS2+4], FLAT
  mov ax, FREE+8
  ltr ax
  RING3
  TRY call FREE+3:0
  TRY in al, 0x10
  RING0
  mov ax, FREE+16
  ltr ax
  RING3
  TRY call FREE+3:0
  TRY in al, 0x10
  RING0
  jmp .end
.inner:
  retf
.end:
END
