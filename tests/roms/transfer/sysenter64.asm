; SYSENTER from and SYSEXIT to 64-bit code.
%include "rom.inc"
ROM
PM32
  LONG64
  mov ecx, 0x174
  xor edx, edx
  GDTDESC FREE, 0, 0xFFFFF, 0xA09B
  GDTDESC FREE+8, 0, 0xFFFFF, 0xC093
  GDTDESC FREE+32, 0, 0xFFFFF, 0xA0FB
  GDTDESC FREE+40, 0, 0xFFFFF, 0xC0F3
  mov eax, FREE
  wrmsr
  mov eax, STACK_B
  inc ecx
  wrmsr
  lea rax, [rel entry]
  inc ecx
  wrmsr
  sysenter
entry:
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG "rsp", rsp
  mov rdx, 0x8000000000000000
  TRY o64 sysexit
  lea rdx, [rel outside]
  mov rcx, 0x800000000000
  TRY o64 sysexit
  mov rcx, STACK3
  o64 sysexit
outside:
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG "rsp", rsp
END
