; Near jumps beyond the limit of CS fault at the jump; 16-bit ones wrap.
%include "rom.inc"
ROM
  mov eax, 0x12345
  TRY jmp eax
  mov ax, 0x10
  EXPECT next
  jmp dword 0x20000
next:
  TRY call eax
  push dword 0x10000
  EXPECT next2
  o32 ret
next2:
  LOG "esp", esp
  mov esp, STACK0
END
