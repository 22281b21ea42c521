; Error codes through 16-bit gates are words; selectors of the LDT and the IDT in error codes.
%include "rom.inc"
ROM
PM32
  GATE_LABEL IDT+13*8, CODE32, handler, 0x86
  mov ax, MAINLDT
  lldt ax
  mov ax, 0x0C
  mov dword [DATA], .a
  mov es, ax
.a:
  mov dword [DATA], .b
  int 0x7F
.b:
  jmp done
handler:
  movzx ebp, sp
  LOG16 "error", [ebp]
  LOG16 "ip", [ebp+2]
  LOG16 "cs", [ebp+4]
  mov eax, [DATA]
  mov [ebp+2], ax
  add esp, 2
  o16 iret
done:
END
