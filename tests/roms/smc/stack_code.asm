; Code built on the stack and called there, twice with other bytes.
%include "rom.inc"
%include "smc.inc"
ROM
PM32
  FLAT_CODE
  mov ebx, 3
.next:
  mov eax, ebx
  shl eax, 8
  or eax, 0xCB0000B0
  or eax, 0x00900000
  push eax
  mov edx, esp
  xor eax, eax
  push dword FREE
  push edx
  call far [esp]
  add esp, 12
  LOG "eax", eax
  dec ebx
  jnz .next
END
