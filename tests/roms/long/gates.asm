; What INT n refuses in long mode: the IDT's limit, gate type, presence, DPL, and every property of the code segment.
%include "rom.inc"
ROM
PM32
  LONG64
  GDTDESC FREE, 0, 0xFFFFF, 0xA01B
  GDTDESC FREE+8, 0, 0xFFFFF, 0xE09B
%macro GATE64 4           ; selector, access byte, IST, bits 63:32 of the offset
  lea rax, [rel handler]
  mov [IDT+0x20*16], ax
  mov word [IDT+0x20*16+2], %1
  mov word [IDT+0x20*16+4], (%2) << 8 | (%3)
  shr rax, 16
  mov [IDT+0x20*16+6], ax
  mov dword [IDT+0x20*16+8], %4
  mov dword [IDT+0x20*16+12], 0
%endmacro
  TRY int 0x80
  GATE64 CODE64, 0x8E, 0, 0
  TRY int 0x20
  GATE64 CODE64, 0x8C, 0, 0
  TRY int 0x20
  GATE64 CODE64, 0x85, 0, 0
  TRY int 0x20
  GATE64 CODE64, 0x0E, 0, 0
  TRY int 0x20
  GATE64 0, 0x8E, 0, 0
  TRY int 0x20
  GATE64 0x3F8, 0x8E, 0, 0
  TRY int 0x20
  GATE64 0x408, 0x8E, 0, 0
  TRY int 0x20
  GATE64 FLAT, 0x8E, 0, 0
  TRY int 0x20
  GATE64 CODE64_3, 0x8E, 0, 0
  TRY int 0x20
  GATE64 FREE, 0x8E, 0, 0
  TRY int 0x20
  GATE64 CODE32, 0x8E, 0, 0
  TRY int 0x20
  GATE64 FREE+8, 0x8E, 0, 0
  TRY int 0x20
  GATE64 CODE64, 0x8E, 0, 0x8000
  TRY int 0x20
  GATE64 CODE64, 0x8E, 0, 0
  push qword FLAT3
  push qword STACK3
  push qword 2
  push qword CODE64_3
  lea rax, [rel outside]
  push rax
  iretq
outside:
  TRY int 0x20
  jmp done
handler:
  PRINT {"handler", 10}
  iretq
done:
END
