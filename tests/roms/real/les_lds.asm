; Loads of far pointers in real mode.
%include "rom.inc"
ROM
  mov dword [gs:SCRATCH], 0x12345678
  mov word [gs:SCRATCH+4], 0x9ABC
  les ax, [gs:SCRATCH]
  LOG16 "ax", ax
  LOG16 "es", es
  lfs eax, [gs:SCRATCH]
  LOG "eax", eax
  LOG16 "fs", fs
  push ds
  lds bx, [gs:SCRATCH+2]
  LOG16 "ds", ds
  pop ds
  mov bx, 0xFFFD
  TRY les ax, [bx]
  LOG16 "es", es
  TRY db 0xC4, 0xC0
END
