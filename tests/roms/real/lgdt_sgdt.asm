; SGDT, SIDT, LGDT, LIDT: bases of 24 bits with 16-bit operands.
%include "rom.inc"
ROM
  mov word [gs:SCRATCH], 0x1234
  mov dword [gs:SCRATCH+2], 0x89ABCDEF
  lgdt [gs:SCRATCH]
  sgdt [gs:SCRATCH+16]
  LOG16 "limit", [gs:SCRATCH+16]
  LOG "base16", [gs:SCRATCH+18]
  o32 lgdt [gs:SCRATCH]
  sgdt [gs:SCRATCH+16]
  LOG "base32", [gs:SCRATCH+18]
  sidt [gs:SCRATCH+16]
  LOG16 "idt limit", [gs:SCRATCH+16]
  LOG "idt base", [gs:SCRATCH+18]
  TRY db 0x0F, 0x01, 0xC0
  TRY lock nop
END
