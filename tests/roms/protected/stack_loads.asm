; Loading SS: privilege, type, presence, null.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, 0, 0xFFFF, 0x4093
  GDTDESC FREE+8, 0, 0xFFFF, 0x4091
  GDTDESC FREE+16, 0, 0xFFFF, 0x409B
  GDTDESC FREE+24, 0, 0xFFFF, 0x4013
  GDTDESC FREE+32, 0, 0xFFFF, 0x40F3
  GDTDESC FREE+40, 0, 0xFFFF, 0x4089
%assign i 0
%rep 6
  mov ax, FREE+i*8
  TRY mov ss, ax
  LOG16 "ss", ss
  mov ax, FLAT
  mov ss, ax
%assign i i+1
%endrep
  mov ax, FREE+1
  TRY mov ss, ax
  mov ax, FREE+32+3
  TRY mov ss, ax
  xor ax, ax
  TRY mov ss, ax
  mov ax, 0x500
  TRY mov ss, ax
  push dword FREE+8
  TRY pop ss
  LOG "esp", esp
END
