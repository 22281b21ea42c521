; Interrupt and trap gates of 16 and 32 bits: IF, what is pushed, the DPL check of INT n.
%include "rom.inc"
ROM
PM32
  GATE_LABEL IDT+0x20*8, CODE32, .gate32, 0x8E
  GATE_LABEL IDT+0x21*8, CODE32, .trap32, 0x8F
  GATE_LABEL IDT+0x22*8, CODE32, .gate16, 0x86
  GATE_LABEL IDT+0x23*8, CODE32, .trap16, 0x87
  GATE_LABEL IDT+0x24*8, CODE32, .gate32, 0x0E
  GATE_LABEL IDT+0x25*8, FLAT, .gate32, 0x8E
  push dword 0x4202
  popfd
  int 0x20
  LOGFLAGS "flags", 0x4200
  int 0x21
  int 0x22
  int 0x23
  TRY int 0x24
  TRY int 0x25
  TRY int 0x26
  TRY int 0x7F
  TRY int 0x80
  push dword 2
  popfd
  RING3
  TRY int 0x20
  TRY int3
  mov al, 0x7F
  inc al
  TRY into
  RING0
  jmp .end
.gate32:
  mov ebp, esp
  LOGFLAGS "in gate32", 0x4200
  LOG "eip", [ebp]
  LOG "cs", [ebp+4]
  iretd
.trap32:
  LOGFLAGS "in trap32", 0x4200
  iretd
.gate16:
  mov ebp, esp
  LOGFLAGS "in gate16", 0x4200
  LOG "cs:ip", [ebp]
  LOG16 "fl", [ebp+4]
  o16 iret
.trap16:
  LOGFLAGS "in trap16", 0x4200
  o16 iret
.end:
END
