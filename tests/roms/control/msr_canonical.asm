; MSRs that hold addresses take canonical ones only; unknown MSRs; ring 3.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  LONG64
  mov edx, 0x00008000
  xor eax, eax
  mov ecx, 0xC0000082
  TRY wrmsr
  mov ecx, 0xC0000083
  TRY wrmsr
  mov ecx, 0xC0000100
  TRY wrmsr
  mov ecx, 0xC0000101
  TRY wrmsr
  mov ecx, 0xC0000102
  TRY wrmsr
  mov ecx, 0x175
  TRY wrmsr
  mov ecx, 0x176
  TRY wrmsr
  mov edx, 0xFFFF8000
  mov ecx, 0xC0000082
  TRY wrmsr
  TRY rdmsr
  LOG "lstar high", rdx
  mov ecx, 0xC0000100
  TRY wrmsr
  mov ecx, 0x40000000
  TRY rdmsr
  mov ecx, 0xC0000F00
  TRY rdmsr
  TRY wrmsr
  ; RDMSR clears the upper halves.
  mov rax, -1
  mov rdx, -1
  mov ecx, 0x174
  rdmsr
  LOG "rax", rax
  LOG "rdx", rdx
  RING3_64
  mov ecx, 0xC0000080
  TRY rdmsr
  TRY wrmsr
  RING0_64
END
