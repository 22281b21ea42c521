; CR0.PG with bad pointers under PAE: #GP, and paging stays off. CR4 writes reload them, too.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES_PAE 7
  mov dword [PAGES+24], 0x103
  mov eax, PAGES
  mov cr3, eax
  mov ebx, cr0
  mov eax, ebx
  or eax, 0x80000000
  TRY mov cr0, eax
  LOG "cr0", cr0
  mov dword [PAGES+24], 0
  mov eax, ebx
  or eax, 0x80000000
  TRY mov cr0, eax
  LOG "cr0", cr0
  mov dword [PAGES+24], 3
  mov eax, cr4
  or eax, 0x80
  TRY mov cr4, eax
  LOG "cr4", cr4
  mov dword [PAGES+24], 0
  mov eax, ebx
  mov cr0, eax
  LOG "cr0", cr0
END
