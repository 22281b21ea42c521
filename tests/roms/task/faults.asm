; What a task switch refuses: type, presence, busy, limit, privilege, the LDT as a table.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS2, 0x67, 0x0009
  GDTDESC FREE+8, TSS2, 0x66, 0x0089
  GDTDESC FREE+16, TSS2, 0x67, 0x008B
  GDTDESC FREE+24, TSS2, 0x67, 0x00E9
  GATE GDT+FREE+32, FREE+8, 0, 0x05, 0
  GATE GDT+FREE+40, FLAT, 0, 0x85, 0
  GATE GDT+FREE+48, FREE+4, 0, 0x85, 0
  GATE GDT+FREE+56, 0, 0, 0x85, 0
%assign i 0
%rep 8
  %if i != 3
  TRY jmp FREE+i*8:0
  %endif
%assign i i+1
%endrep
  TRY call FREE+16:0
  TRY jmp MAINTSS:0
  GDTDESC FREE, TSS2, 0x67, 0x0089
  RING3
  TRY jmp FREE+3:0
  RING0
  push dword 0x4002
  popfd
  mov word [TSS], FREE
  TRY iretd
  mov word [TSS], FREE+16+4
  TRY iretd
  mov word [TSS], 0
  TRY iretd
  mov word [TSS], FLAT
  TRY iretd
  LOG "descriptor", [GDT+FREE+4]
END
