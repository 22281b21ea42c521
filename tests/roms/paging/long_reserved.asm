; Four levels: reserved bits: PS of level 4, those above MAXPHYADDR, low address bits of large pages, NX without NXE.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  LONG64
  PAGES_LONG
  mov dword [PAGES+8], PAGES+0x1087
  mov dword [PAGES+0x10], PAGES+0x1007
  mov dword [PAGES+0x14], 0x000F0000
  mov dword [PAGES+0x18], PAGES+0x1007
  mov dword [PAGES+0x1C], 0x80000000
  mov dword [PAGES+0x1008], 0x2087
  mov dword [PAGES+0x1010], 0x20000087
  mov dword [PD+24], 0x2087
  mov dword [PD+32], 0x100087
  mov dword [PD+40], 0x601087
  PTE_HIGH 1, 0x80000
  PTE_HIGH 2, 0x7FF00000
  PTE_HIGH 3, 0x80000000
  mov dword [F(2)], 0x22
  FLUSH
  mov rbx, 0x8000000000
  TRY mov eax, [rbx]
  mov rbx, 0x10000000000
  TRY mov eax, [rbx]
  mov rbx, 0x18000000000
  TRY mov [rbx], eax
  TRY mov eax, [0x40000000]
  mov rbx, 0x80000000
  TRY mov eax, [rbx]
  TRY mov eax, [0x600000]
  TRY mov eax, [0x800000]
  TRY mov eax, [0xA00000]
  TRY mov eax, [V(1)]
  TRY mov eax, [V(2)]
  LOG "bits 52 to 62 are free", rax
  TRY mov eax, [V(3)]
  RING3_64
  TRY mov [V(3)], eax
  mov rbx, 0x8000000000
  TRY mov eax, [rbx]
  RING0_64
END
