; MOV SS and POP SS hold back a single-step trap for one instruction.
%include "rom.inc"
ROM
PM32
  GATE_LABEL IDT+8, CODE32, step, 0x8E
  mov ax, ss
  push eax
  push dword 0x102
  popfd
  nop
  mov ss, ax
  nop
  nop
  pop ss
  nop
  push dword 2
  popfd
  nop
  jmp done
step:
  push ebp
  mov ebp, esp
  LOG "step", [ebp+4]
  pop ebp
  iretd
done:
END
