; Priorities: limit before alignment, the first operand's fault, privilege after the opcode.
%include "rom.inc"
ROM
PM32
  mov eax, 0
  TRY db 0xF0, 0x0F, 0x20, 0xC0
  RING3
  TRY db 0x0F, 0x20, 0xC8
  TRY mov eax, cr0
  TRY lldt [0x7FFFFFFF]
  TRY ltr [DATA]
  TRY lgdt [DATA]
  mov ax, 0x3F8
  TRY mov ds, ax
END
