; XSETBV and XGETBV: CR4.OSXSAVE, the bits of XCR0 that belong together, ring 3.
%include "rom.inc"
%include "paging.inc"
ROM
  cpu default
PM32
  xor ecx, ecx
  TRY xgetbv
  TRY xsetbv
  CR4_SET 0x40000
  TRY xgetbv
  LOG "xcr0", eax
  LOG "high", edx
  mov eax, 3
  TRY xsetbv
  xgetbv
  LOG "xcr0", eax
  mov eax, 2
  TRY xsetbv
  mov eax, 0
  TRY xsetbv
  mov eax, 5
  TRY xsetbv
  mov eax, 0x80000003
  TRY xsetbv
  mov eax, 3
  mov edx, 0x80000000
  TRY xsetbv
  mov ecx, 5
  xor edx, edx
  TRY xsetbv
  TRY xgetbv
  RING3
  xor ecx, ecx
  TRY xgetbv
  LOG "xcr0", eax
  mov eax, 1
  TRY xsetbv
  RING0
  mov eax, 1
  xor edx, edx
  TRY xsetbv
  xgetbv
  LOG "xcr0", eax
END
