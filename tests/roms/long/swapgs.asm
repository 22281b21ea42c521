; SWAPGS exchanges bases; ring 3 may not.
%include "rom.inc"
ROM
PM32
  LONG64
  mov ecx, 0xC0000102
  mov eax, 0x1000
  xor edx, edx
  wrmsr
  swapgs
  mov ecx, 0xC0000101
  rdmsr
  LOG "gs base", rax
  mov ecx, 0xC0000102
  rdmsr
  LOG "kernel gs base", rax
  swapgs
  mov edx, 0x00008000
  TRY wrmsr
  push qword FLAT3
  push qword STACK3
  push qword 2
  push qword CODE64_3
  lea rax, [rel outside]
  push rax
  iretq
outside:
  TRY swapgs
END
