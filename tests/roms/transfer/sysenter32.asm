; SYSENTER and SYSEXIT in 32-bit protected mode: flat segments made from one MSR.
%include "rom.inc"
ROM
PM32
  mov ecx, 0x174
  xor edx, edx
  mov eax, 0
  wrmsr
  TRY sysenter
  TRY sysexit
  mov eax, CODE32
  mov ecx, 0x174
  wrmsr
  mov eax, STACK_B
  inc ecx
  wrmsr
  mov eax, BASE+entry
  inc ecx
  wrmsr
  RING3
  TRY sysexit
  sti_free:
  sysenter
entry:
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG16 "ds", ds
  LOGFLAGS "flags", 0x20200
  mov ecx, STACK3
  mov edx, BASE+outside
  sysexit
outside:
  mov ax, cs
  mov bx, ss
  lar ecx, eax
  lsl edx, eax
  jmp CODE3:.near
.near:
  LOG16 "cs", ax
  LOG16 "ss", bx
  LOG "esp", esp
  LOG "lar", ecx
  LOG "lsl", edx
END
