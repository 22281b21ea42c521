; Single step: a trap after each instruction, the one after POPF first; jumps, calls and returns.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  STEP_ON
  nop
  call .a
  jmp .b
  nop
.a:
  ret
.b:
  cpuid
  lock inc dword [DATA]
  mov eax, cr0
  mov cr0, eax
  jmp CODE32:.c
.c:
  push ds
  pop es
  STEP_OFF
  nop
END
