; A stepped instruction whose successor has a breakpoint: what DR6 tells, in how many exceptions.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  GATE_LABEL IDT+8, CODE32, handler, 0x8E
  BREAK 0, BASE+here, EXECUTE
  STEP_ON
  nop
here:
  nop
  STEP_OFF
  jmp done
handler:
  push ebp
  mov ebp, esp
  push eax
  LOG "ip", [ebp+4]
  mov eax, dr6
  and eax, 0x4000
  LOG "BS", eax
  xor eax, eax
  mov dr6, eax
  or dword [ebp+12], 0x10000
  pop eax
  pop ebp
  iretd
done:
END
