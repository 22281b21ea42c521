; PAE: three levels, entries of 8 bytes, 2 MiB pages and their reserved bits.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES_PAE 7
  mov dword [PAGES+0x1000+3*8], 0x87
  mov dword [PAGES+0x1000+4*8], 0x2087
  mov dword [PAGES+0x1000+5*8], 0x100087
  PTE 2, 0
  mov dword [F(1)], 0xCAFE0001
  PAGING_ON
  mov eax, [V(1)]
  LOG "4 KiB", eax
  mov eax, [0x600000+F(1)]
  LOG "2 MiB", eax
  LOG "entry", [PAGES+0x1018]
  mov [0x600000+F(1)], eax
  LOG "entry", [PAGES+0x1018]
  TRY mov eax, [0x800000]
  TRY mov eax, [0xA00000]
  TRY mov [V(2)], eax
  TRY mov eax, [0x40000000]
  TRY mov eax, [0xFFFFFFF0]
  LOG "pointer", [PAGES]
  RING3
  TRY mov eax, [0x800000]
  TRY mov eax, [0x40000000]
  RING0
  LOG "table entry", [PT1+8]
  LOG "directory entry", [PAGES+0x1010]
END
