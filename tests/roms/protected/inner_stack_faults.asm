; A bad SS in the TSS: #TS with its selector, #SS if not present, #TS with the TSS's selector if the TSS is too short.
%include "rom.inc"
ROM
PM32
  GATE_LABEL GDT+FREE, CODE1-1, .inner, 0xEC
  GATE_LABEL GDT+FREE+8, CODE32, .back, 0xEE
  GDTDESC FREE+16, 0, 0xFFFFF, 0xC033
  GDTDESC FREE+24, 0, 0xFFFFF, 0xC0B1
  RING3
  call FREE+3:0
  LOG16 "cs", cs
  RING0
  mov word [TSS+16], FREE+16+1
  RING3
  TRY call FREE+3:0
  RING0
  mov word [TSS+16], FREE+24+1
  RING3
  TRY call FREE+3:0
  RING0
  mov word [TSS+16], FLAT
  RING3
  TRY call FREE+3:0
  RING0
  mov word [TSS+16], 0
  RING3
  TRY call FREE+3:0
  RING0
  mov word [TSS+16], 0x3F9
  RING3
  TRY call FREE+3:0
  RING0
  jmp .end
.inner:
  LOG16 "cs1", cs
  LOG16 "ss1", ss
  LOG "esp1", esp
  retf
.back:
.end:
END
