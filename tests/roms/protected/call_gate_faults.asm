; What a bad call gate raises: privilege, presence, its target, the inner stack.
%include "rom.inc"
ROM
PM32
  GATE_LABEL GDT+FREE, CODE32, .never, 0x8C
  GATE_LABEL GDT+FREE+8, CODE32, .never, 0x6C
  GATE_LABEL GDT+FREE+16, 0, .never, 0xEC
  GATE_LABEL GDT+FREE+24, FLAT, .never, 0xEC
  GATE_LABEL GDT+FREE+32, 0x3F8, .never, 0xEC
  GATE_LABEL GDT+FREE+40, FREE+64, .never, 0xEC
  GATE_LABEL GDT+FREE+48, CODE32, .never, 0xEC
  mov dword [GDT+FREE+48+4], 0x0001EC00
  GDTDESC FREE+64, BASE, 0xFFFF, 0x401B
  RING3
%assign i 0
%rep 7
  TRY call FREE+i*8+3:0
%assign i i+1
%endrep
  TRY jmp FREE+16+3:0
  RING0
  TRY call FREE+3:0
  jmp .end
.never:
  PRINT {"never", 10}
.end:
END
