; The four page-directory pointers: loaded by MOV to CR3, checked there, read from memory no more afterwards.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES_PAE 7
  mov dword [F(0)], 0x77
  PAGING_ON
  mov eax, [V(0)]
  LOG "read", eax
  mov dword [PAGES], 0
  invlpg [V(1)]
  mov dword [F(1)], 0x78
  mov eax, [V(1)]
  LOG "old pointer", eax
  mov dword [PAGES], PAGES+0x1001
  mov eax, PAGES
  mov cr3, eax
  ; Reserved: bits 1, 2, 5 to 8, and those from MAXPHYADDR on, if P is set.
%assign bit 1
%rep 8
  mov dword [PAGES+8], PAGES+0x1001 | (1 << bit)
  mov eax, PAGES
  LOG "bit", bit
  TRY mov cr3, eax
%assign bit bit+1
%endrep
  mov dword [PAGES+8], PAGES+0x1001
  mov dword [PAGES+12], 0x80000000
  mov eax, PAGES
  TRY mov cr3, eax
  mov dword [PAGES+8], PAGES+0x11E6
  mov eax, PAGES
  TRY mov cr3, eax
  mov eax, [V(0)]
  LOG "still", eax
  LOG "cr3", cr3
END
