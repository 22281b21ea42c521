; Direct far transfers beyond the limit; far returns to data, to an absent segment, beyond the limit.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, BASE, 0xFFFF, 0x401B
  EXPECT .a
  jmp CODE32:0x10000
.a:
  EXPECT .b
  call CODE32:0x10000
.b:
%macro RETURN 2
  mov esp, STACK0
  push dword %1
  push dword %2
  TRY retf
%endmacro
  RETURN FLAT, 0x1000
  RETURN FREE, 0x1000
  RETURN CODE32, 0x10000
  RETURN 0x3F8, 0x1000
  RETURN 0, 0x1000
  mov esp, STACK0
END
