; IA32_APIC_BASE: bootstrap processor, enabled; reserved bits.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  mov ecx, 0x1B
  rdmsr
  LOG "low", eax
  LOG "high", edx
  or eax, 1
  TRY wrmsr
  rdmsr
  mov edx, 0x80000000
  TRY wrmsr
  rdmsr
  and eax, ~0x800
  or eax, 0x400
  TRY wrmsr
  mov eax, 0xFEE00800
  xor edx, edx
  TRY wrmsr
  mov ecx, 0x802
  TRY rdmsr
END
