; PUSH of a segment register with 32-bit operands writes two bytes; POP reads four.
%include "rom.inc"
ROM
PM32
  mov dword [esp-4], 0xAAAAAAAA
  push ds
  mov ebp, esp
  LOG "pushed", [ebp]
  mov dword [esp], 0x55550010
  pop es
  LOG16 "es", es
  push word 0x10
  o16 pop fs
  LOG16 "fs", fs
  LOG "esp", esp
END
