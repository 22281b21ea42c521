; RDFSBASE and its kin: CR4.FSGSBASE, canonical bases, 32-bit forms.
%include "rom.inc"
%include "paging.inc"
ROM
  cpu default
PM32
  LONG64
  TRY rdfsbase rax
  CR4_SET 0x10000
  mov rbx, 0x0000123456789ABC
  TRY wrfsbase rbx
  TRY rdfsbase rax
  LOG "fs", rax
  mov rax, -1
  TRY rdfsbase eax
  LOG "fs 32", rax
  mov rbx, 0x8000000000000000
  TRY wrgsbase rbx
  mov ecx, 0xC0000100
  rdmsr
  LOG "msr", rax
  mov rbx, -2
  TRY wrfsbase ebx
  TRY rdfsbase rax
  LOG "fs 32 written", rax
  TRY rdgsbase rax
  LOG "gs", rax
  RING3_64
  mov ebx, 0x4000
  TRY wrfsbase rbx
  TRY rdfsbase rax
  LOG "ring 3", rax
  RING0_64
END
