; A data breakpoint on MOV SS's operand is held back for one instruction, and lost where that one is INT1.
%include "rom.inc"
ROM
PM32
  GATE_LABEL IDT+8, CODE32, step, 0x8E
  mov [0x9000], ss
  mov eax, 0x9000
  mov dr0, eax
  mov eax, 0x000f0002
  mov dr7, eax
  xor eax, eax
  mov dr6, eax
  mov ss, [0x9000]
  db 0xf1
.after:
  LOG "after", .after
  xor eax, eax
  mov dr7, eax
  mov dr6, eax
  db 0xf1
  jmp done
step:
  push ebp
  push eax
  mov ebp, esp
  LOG "step", [ebp+8]
  mov eax, dr6
  LOG "dr6", eax
  xor eax, eax
  mov dr6, eax
  pop eax
  pop ebp
  iretd
done:
END
