; An inner stack too small for the frame: #SS with its selector, through interrupt and call gates.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, 0, 0xFFF, 0x40B3
  GATE_LABEL GDT+FREE+8, CODE1-1, .inner, 0xEC
  GATE_LABEL IDT+0x20*8, CODE1-1, .inner, 0xEE
  mov word [TSS+16], FREE+1
  mov dword [TSS+12], 0x1008
  RING3
  TRY call FREE+8+3:0
  TRY int 0x20
  RING0
  V86 0x3000
  mov ax, 0
  jmp .end
.inner:
  retf
.end:
END
