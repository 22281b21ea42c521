; 32-bit paging, 4 KiB pages: U/S and R/W of both levels, CR0.WP, ring 0 and ring 3; accessed and dirty flags.
%include "rom.inc"
%include "translation/pages.inc"
%macro PAGES_TRIED 0
  TRY mov eax, [0x400000]
  TRY mov [0x400000], eax
  TRY mov eax, [0x401000]
  TRY mov [0x401000], eax
  TRY mov eax, [0x402000]
  TRY mov [0x402000], eax
  TRY mov eax, [0x403000]
  TRY mov [0x403000], eax
  TRY mov eax, [0x404000]
  TRY mov [0x404000], eax
  TRY mov eax, [0x800000]
  TRY mov [0x800000], eax
  TRY mov eax, [0xC00000]
  TRY mov [0xC00000], eax
  TRY mov eax, [0x1000000]
  TRY mov [0x1000000], eax
%endmacro
%macro ENTRIES 0
  LOG "pde0", [gs:ROOT]
  LOG "pde1", [gs:ROOT+4]
  LOG "pde2", [gs:ROOT+8]
  LOG "pde3", [gs:ROOT+12]
  LOG "pte0", [gs:TABLE1]
  LOG "pte1", [gs:TABLE1+4]
  LOG "pte2", [gs:TABLE1+8]
  LOG "pte3", [gs:TABLE1+12]
  LOG "pte4", [gs:TABLE1+16]
  LOG "2.0", [gs:TABLE2]
%endmacro
%macro FRESH 0            ; the tables without flags
  mov dword [gs:ROOT+4], TABLE1+7
  mov dword [gs:ROOT+8], TABLE2+5
  mov dword [gs:ROOT+12], TABLE2+3
  mov dword [gs:TABLE1], FRAME+7
  mov dword [gs:TABLE1+4], FRAME+3
  mov dword [gs:TABLE1+8], FRAME+5
  mov dword [gs:TABLE1+12], FRAME+1
  mov dword [gs:TABLE1+16], FRAME+6
  mov dword [gs:TABLE2], FRAME+7
%endmacro
ROM
PM32
  CLEAR_TABLES
  IDENTITY TABLE0, 4
  mov dword [gs:ROOT], TABLE0+7
  FRESH
  mov eax, ROOT
  mov cr3, eax
  PAGING_ON
  PAGES_TRIED
  ENTRIES
  FRESH
  mov eax, cr0
  or eax, 0x10000
  mov cr0, eax
  RELOAD
  PRINT {"WP", 10}
  PAGES_TRIED
  ENTRIES
  FRESH
  RELOAD
  RING3
  PRINT {"ring 3", 10}
  PAGES_TRIED
  RING0
  ENTRIES
END
