; The page attribute table takes the types 0, 1 and 4 to 7 only; its value after reset.
%include "rom.inc"
ROM
PM32
  mov ecx, 0x277
  rdmsr
  LOG "low", eax
  LOG "high", edx
  mov eax, 0x00070402
  TRY wrmsr
  mov eax, 0x03000000
  TRY wrmsr
  mov eax, 0x00000008
  TRY wrmsr
  mov eax, 0x07040106
  mov edx, 0x00050607
  TRY wrmsr
  rdmsr
  LOG "low", eax
  LOG "high", edx
  mov edx, 0x08000000
  TRY wrmsr
END
