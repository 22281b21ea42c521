; An inner stack too small for the frame: #SS with its selector, through interrupt and call gates.
; Another exception comes before each, so that nothing of it can be left over.
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
  TRY ud2
  TRY int 0x20
  RING0
  jmp .end
.inner:
  retf
.end:
END
