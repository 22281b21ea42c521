; Gates whose offset lies beyond the code segment, with a null or absent segment: at one level, from ring 3, out of
; virtual-8086 mode, and through call gates.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, BASE, 0xFFFF, 0x401B
  GATE_LABEL IDT+0x20*8, CODE32, 0xFFF0, 0xEE
  mov word [IDT+0x20*8+6], 1
  GATE_LABEL IDT+0x21*8, 0, 0x1000, 0xEE
  GATE_LABEL IDT+0x22*8, FREE, 0x1000, 0xEE
  GATE_LABEL GDT+FREE+8, CODE32, 0xFFF0, 0xEC
  mov word [GDT+FREE+8+6], 1
  GATE_LABEL GDT+FREE+16, CODE3-3, 0x1000, 0xEC
  GATE_LABEL GDT+FREE+24, CODE32, 0x1000, 0xEC
  TRY int 0x20
  TRY int 0x21
  TRY int 0x22
  TRY call FREE+8:0
  TRY call FREE+16:0
  RING3
  TRY int 0x20
  TRY int 0x21
  TRY int 0x22
  TRY call FREE+8+3:0
  TRY jmp FREE+24+3:0
  RING0
  V86 0x3000
  TRY int 0x20
  TRY int 0x22
END
