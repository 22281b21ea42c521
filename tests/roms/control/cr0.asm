; CR0: combinations that are refused, bits that are not there, ET that is always set.
%include "rom.inc"
ROM
PM32
  LOG "cr0", cr0
  mov eax, cr0
  mov ebx, eax
  or eax, 0x1FFAFFC0
  TRY mov cr0, eax
  mov eax, cr0
  and eax, 0x1FFAFFC0
  LOG "reserved", eax
  mov eax, ebx
  and eax, ~0x10
  TRY mov cr0, eax
  LOG "ET", cr0
  mov eax, 0x20000001
  TRY mov cr0, eax
  mov eax, 0x40000001
  TRY mov cr0, eax
  LOG "CD", cr0
  mov eax, 0x60050031
  TRY mov cr0, eax
  LOG "WP AM NE", cr0
  mov eax, 0x80000000
  TRY mov cr0, eax
  mov eax, 0x3F
  TRY mov cr0, eax
  LOG "low bits", cr0
END
