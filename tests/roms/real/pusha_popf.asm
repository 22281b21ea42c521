; PUSHA and POPA, PUSHF and POPF with both operand sizes.
%include "rom.inc"
ROM
  mov eax, 0xA1A2A3A4
  mov ecx, 0xC1C2C3C4
  mov edx, 0xD1D2D3D4
  mov ebx, 0xB1B2B3B4
  mov ebp, 0xE1E2E3E4
  mov esi, 0x51525354
  mov edi, 0x61626364
  pusha
  LOG16 "sp", sp
  mov ebx, esp
  LOG16 "pushed sp", [ss:bx+6]
  popa
  pushad
  LOG16 "sp32", sp
  mov ebx, esp
  LOG "pushed esp", [ss:bx+12]
  popad
  LOG "ebx", ebx
  push dword 0x003F7ED7
  popfd
  pushfd
  pop eax
  LOG "flags", eax
  push word 2
  popf
  pushfd
  pop eax
  LOG "flags16", eax
  push dword 2
  popfd
END
