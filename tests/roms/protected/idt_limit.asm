; A vector beyond the IDT's limit: #GP with the vector; from an exception, EXT and a double fault.
%include "rom.inc"
ROM
PM32
  TRY int 0x90
  GATE_LABEL IDT+8*8, CODE32, .double, 0x8E
  lidt [cs:.short]
  EXPECT .next
  int 0x40
.next:
  lidt [cs:idt_pointer]
  jmp .end
.short:
  dw 14*8-1
  dd IDT
.double:
  PRINT {"double", 10}
  mov esp, STACK0
  jmp .next
.end:
END
