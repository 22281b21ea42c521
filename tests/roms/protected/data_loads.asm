; Loading ES with every kind of descriptor: which fault, which error code.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, 0, 0xFFFF, 0x0093
  GDTDESC FREE+8, 0, 0xFFFF, 0x0091
  GDTDESC FREE+16, 0, 0xFFFF, 0x0099
  GDTDESC FREE+24, 0, 0xFFFF, 0x009B
  GDTDESC FREE+32, 0, 0xFFFF, 0x0013
  GDTDESC FREE+40, 0, 0xFFFF, 0x0089
  GDTDESC FREE+48, 0, 0xFFFF, 0x00F3
  GDTDESC FREE+56, 0, 0xFFFF, 0x009F
%assign i 0
%rep 8
  mov ax, FREE+i*8
  TRY mov es, ax
  LOG16 "es", es
%assign i i+1
%endrep
  mov ax, FREE+3
  TRY mov es, ax
  mov ax, FREE+48+3
  TRY mov es, ax
  mov ax, 0x3F8
  TRY mov es, ax
  mov ax, 0x400
  TRY mov es, ax
  mov ax, 0x403
  TRY mov fs, ax
  mov ax, 4
  TRY mov es, ax
  mov ax, 3
  TRY mov es, ax
  LOG16 "null es", es
  TRY mov eax, [es:0]
END
