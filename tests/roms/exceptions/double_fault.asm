; Contributory faults during delivery become a double fault with error code 0.
%include "rom.inc"
ROM
PM32
  GATE_LABEL IDT+8*8, CODE32, double, 0x8E
  GATE_LABEL IDT+13*8, CODE32, never, 0x0E
  GATE_LABEL IDT+0, 0x3F8, never, 0x8E
  mov dword [DATA], .a
  xor ecx, ecx
  div ecx
.a:
  mov dword [DATA], .b
  mov ax, 0x3F8
  mov es, ax
.b:
  GATE_LABEL IDT+6*8, CODE32, never, 0x0E
  GATE_LABEL IDT+11*8, CODE32, absent, 0x8E
  mov dword [DATA], .c
  ud2
.c:
  jmp done
never:
  PRINT {"never", 10}
double:
  mov ebp, esp
  PRINT {"double", 10}
  LOG "error", [ebp]
  mov eax, [DATA]
  mov [ebp+4], eax
  add esp, 4
  iretd
absent:
  mov ebp, esp
  LOG "absent", [ebp]
  mov eax, [DATA]
  mov [ebp+4], eax
  add esp, 4
  iretd
done:
END
