; INVPCID: types beyond 3, reserved bits of its descriptor, canonical addresses, ring 3.
%include "rom.inc"
%include "paging.inc"
ROM
  cpu default
PM32
  LONG64
  PAGES_LONG
  mov qword [abs DATA], 0
  mov qword [abs DATA+8], V(0)
  mov dword [F(0)], 0xA
  mov dword [F(1)], 0xB
  mov eax, [V(0)]
  PTE 0, F(1)+7
  xor ecx, ecx
  TRY invpcid rcx, [abs DATA]
  mov eax, [V(0)]
  LOG "one address", rax
  PTE 0, F(0)+7
  mov ecx, 1
  TRY invpcid rcx, [abs DATA]
  mov eax, [V(0)]
  LOG "one context", rax
  PTE 0, F(1)+7
  mov ecx, 2
  TRY invpcid rcx, [abs DATA]
  mov eax, [V(0)]
  LOG "all", rax
  PTE 0, F(0)+7
  mov ecx, 3
  TRY invpcid rcx, [abs DATA]
  mov eax, [V(0)]
  LOG "all but global", rax
  mov ecx, 4
  TRY invpcid rcx, [abs DATA]
  xor ecx, ecx
  mov qword [abs DATA], 1
  TRY invpcid rcx, [abs DATA]
  mov qword [abs DATA], 0x1000
  TRY invpcid rcx, [abs DATA]
  mov qword [abs DATA], 0
  mov rax, 0x8000000000000000
  mov [abs DATA+8], rax
  TRY invpcid rcx, [abs DATA]
  mov ecx, 2
  TRY invpcid rcx, [abs DATA]
  RING3_64
  TRY invpcid rcx, [abs DATA]
  RING0_64
END
