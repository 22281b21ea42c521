; EFER: reserved bits, LMA that cannot be written, LME that cannot change while paging is on.
%include "rom.inc"
ROM
PM32
  mov ecx, 0xC0000080
  rdmsr
  LOG "efer", eax
  LOG "high", edx
%assign bit 1
%rep 7
  mov eax, 1 << bit
  xor edx, edx
  TRY wrmsr
%assign bit bit+1
%endrep
  mov eax, 0x200
  TRY wrmsr
  mov eax, 0x10000
  TRY wrmsr
  xor eax, eax
  mov edx, 1
  TRY wrmsr
  mov eax, 0x901
  xor edx, edx
  TRY wrmsr
  rdmsr
  LOG "efer", eax
  mov eax, 0
  TRY wrmsr
  LONG64
  mov ecx, 0xC0000080
  rdmsr
  LOG "efer", rax
  and eax, ~0x100
  TRY wrmsr
  mov eax, 0x500
  TRY wrmsr
  mov eax, 0xD01
  TRY wrmsr
  rdmsr
  LOG "efer", rax
END
