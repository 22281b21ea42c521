; Control registers and EFER: what a write refuses, outside and inside long mode.
%include "rom.inc"
%include "translation/pages.inc"
ROM
PM32
  mov eax, cr0
  or eax, 0x80000000
  and eax, ~1
  TRY mov cr0, eax
  mov eax, cr0
  or eax, 0x20000000
  and eax, ~0x40000000
  TRY mov cr0, eax
  mov eax, 0x6005003F
  mov cr0, eax
  LOG "cr0", cr0
  mov eax, 0x60000001
  or eax, 0x1FFAFFC0
  TRY mov cr0, eax
  LOG "cr0", cr0
  mov eax, 0xFFFFF
  TRY lmsw ax
  LOG "cr0", cr0
  xor eax, eax
  lmsw ax
  LOG "cr0", cr0
  mov eax, 0xFFFFFFFF
  mov cr3, eax
  LOG "cr3", cr3
  mov eax, 0x80000000
  TRY mov cr4, eax
  mov eax, 0x20020          ; PCIDE outside long mode
  TRY mov cr4, eax
  xor eax, eax
  mov cr3, eax
  ; EFER.
  mov ecx, 0xC0000080
  mov edx, 0
  mov eax, 2
  TRY wrmsr
  mov eax, 0x1000
  TRY wrmsr
  mov edx, 1
  mov eax, 0
  TRY wrmsr
  mov edx, 0
  mov eax, 0x901
  TRY wrmsr
  rdmsr
  LOG "efer", eax
  mov eax, 0
  wrmsr
  ; Long mode needs PAE.
  mov eax, 0x100
  wrmsr
  mov eax, cr0
  or eax, 0x80000000
  TRY mov cr0, eax
  rdmsr
  LOG "efer", eax
  LONG64
  mov ecx, 0xC0000080
  rdmsr
  LOG "efer", rax
  xor eax, eax
  TRY wrmsr
  mov rax, cr0
  btr rax, 31
  TRY mov cr0, rax
  mov rax, cr0
  bts rax, 32
  TRY mov cr0, rax
  mov rax, cr4
  btr rax, 5
  TRY mov cr4, rax
  mov rax, cr4
  bts rax, 32
  TRY mov cr4, rax
  mov rax, cr3
  bts rax, 52
  TRY mov cr3, rax
  mov rax, cr3
  bts rax, 63
  TRY mov cr3, rax
  mov eax, 16
  TRY mov cr8, rax
  mov eax, 9
  mov cr8, rax
  LOG "cr8", cr8
  ; MSRs: canonical addresses, memory types.
  mov edx, 0x8000
  xor eax, eax
%assign n 0
%rep 3
  mov ecx, 0xC0000100+n
  TRY wrmsr
%assign n n+1
%endrep
  mov ecx, 0xC0000082
  TRY wrmsr
  mov ecx, 0x175
  TRY wrmsr
  mov ecx, 0x176
  TRY wrmsr
  mov ecx, 0x277
  rdmsr
  LOG "pat", rax
  mov edx, 0x00070400
  mov eax, 0x00070206
  TRY wrmsr
  mov eax, 0x00070306
  TRY wrmsr
  mov eax, 0x00070806
  TRY wrmsr
  mov eax, 0x01040506
  TRY wrmsr
END
