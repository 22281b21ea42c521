; Far CALL and RET at one level: words pushed, RET n, a conforming segment keeps CPL.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, BASE, 0xFFFF, 0x409F
  mov ebx, esp
  push dword 0
  push dword 0
  call CODE32:.target
  sub ebx, esp
  LOG "left", ebx
  RING3
  call FREE:.conforming
  LOG16 "cs", cs
  RING0
  mov ax, DATA16
  mov ss, ax
  call far word [cs:.pointer]
  mov ax, FLAT
  mov ss, ax
  LOG "esp", esp
  jmp .end
.pointer:
  dw .sixteen, CODE16
.target:
  mov ebp, esp
  LOG "eip", [ebp]
  LOG "cs", [ebp+4]
  retf 8
.conforming:
  LOG16 "conforming cs", cs
  retf
  bits 16
.sixteen:
  mov bp, sp
  LOG16 "ip", [bp]
  LOG16 "cs16", [bp+2]
  retf
  bits 32
.end:
END
