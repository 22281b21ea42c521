; CPUID: the signature's family, upper halves cleared, leaves beyond the last as the last one.
%include "rom.inc"
ROM
PM32
  mov eax, 1
  cpuid
  and eax, 0xF00
  LOG "family", eax
  and edx, 0x078BFBFF & ~0x42
  and edx, 0x0781A171
  LOG "fpu pse tsc msr pae cx8 sep pge cmov mmx fxsr sse sse2", edx
  LONG64
  mov rax, 0x1234567800000000
  mov rbx, -1
  mov rcx, -1
  mov rdx, -1
  cpuid
  LOG "ebx", rbx
  LOG "edx", rdx
  LOG "ecx", rcx
  mov eax, 0x80000000
  cpuid
  and eax, 0xFFFF0000
  LOG "extended", rax
  mov eax, 0x80000001
  cpuid
  and edx, 0x20100800
  LOG "syscall nx lm", rdx
END
