; Far JMP, CALL and RET in 64-bit mode with each operand size; code segments with L and D both set.
%include "rom.inc"
ROM
PM32
  LONG64
  mov dword [DATA], BASE+.a
  mov word [DATA+4], CODE64
  jmp far dword [DATA]
.a:
  LOG16 "cs", cs
  mov rax, BASE+.b
  mov [DATA], rax
  mov word [DATA+8], CODE64
  o64 call far [DATA]
  LOG "rsp", rsp
  GDTDESC FREE, 0, 0xFFFFF, 0xE09B
  mov word [DATA+4], FREE
  TRY jmp far dword [DATA]
  mov dword [DATA+4], 0x00508000
  mov word [DATA+8], CODE64
  mov dword [DATA+4], 0x8000
  TRY o64 jmp far [DATA]
  push qword CODE64
  mov rax, 0x800000000000
  push rax
  TRY o64 retf
  jmp .end
.b:
  mov rbp, rsp
  LOG "rip", [rbp]
  LOG "cs", [rbp+8]
  o64 retf
.end:
END
