; Reserved bits of PAE entries: 62 to MAXPHYADDR, bit 63 while EFER.NXE is 0.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES_PAE 7
  PTE_HIGH 1, 0x40000000
  PTE_HIGH 2, 0x00100000
  PTE_HIGH 3, 0x80000000
  PTE_HIGH 4, 0x80000000
  PTE 4, F(4)+6
  PTE_HIGH 5, 0x00100000
  PTE 5, F(5)+5
  mov dword [PAGES+0x1000+3*8], PT1+7
  mov dword [PAGES+0x1000+3*8+4], 0x10000000
  mov dword [PAGES+0x1000+4*8], 0x87
  mov dword [PAGES+0x1000+4*8+4], 0x80000000
  PAGING_ON
  TRY mov eax, [V(1)]
  TRY mov [V(2)], eax
  TRY mov eax, [V(3)]
  TRY mov eax, [V(4)]
  WP 1
  TRY mov [V(5)], eax
  TRY mov eax, [0x600000]
  TRY mov eax, [0x800000]
  RING3
  TRY mov eax, [V(1)]
  TRY mov eax, [V(3)]
  RING0
  NXE 1
  FLUSH
  TRY mov eax, [V(3)]
  TRY mov eax, [0x800000]
  TRY mov eax, [V(1)]
  NXE 0
  FLUSH
  TRY mov eax, [V(3)]
END
