; Call gates: to ring 0 with parameters and the TSS's stack, back with RET n.
%include "rom.inc"
ROM
PM32
  GATE_LABEL GDT+FREE, CODE32, .inner, 0xEC
  mov byte [GDT+FREE+4], 3
  GATE_LABEL GDT+FREE+8, CODE32, .same, 0x8C
  RING3
  push dword 0x111
  push dword 0x222
  push dword 0x333
  call FREE+3:0x12345678
  LOG "esp3", esp
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG16 "ds", ds
  TRY call FREE+8:0
  RING0
  call FREE+8:0
  LOG "esp", esp
  jmp .end
.inner:
  mov ebp, esp
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG "esp", esp
  LOG "eip", [ebp]
  LOG "old cs", [ebp+4]
  LOG "p1", [ebp+8]
  LOG "p2", [ebp+12]
  LOG "p3", [ebp+16]
  LOG "old esp", [ebp+20]
  LOG "old ss", [ebp+24]
  push dword FLAT
  pop ds
  retf 12
.same:
  mov ebp, esp
  LOG "same", [ebp]
  retf
.end:
END
