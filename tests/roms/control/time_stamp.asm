; CR4.TSD keeps RDTSC and RDTSCP for ring 0; IA32_TSC_AUX comes back in ECX.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  mov ecx, 0xC0000103
  mov eax, 0x1234
  xor edx, edx
  wrmsr
  rdtscp
  LOG "aux", ecx
  RING3
  TRY rdtsc
  TRY rdtscp
  RING0
  CR4_SET 4
  TRY rdtsc
  TRY rdtscp
  RING3
  TRY rdtsc
  TRY rdtscp
  TRY rdpmc
  RING0
  ; It does not stand still.
  rdtsc
  mov ebx, eax
  rdtsc
  sub eax, ebx
  setnz al
  movzx eax, al
  LOG "moves", eax
END
