; 4-level paging: reserved bits at every level, 2 MiB and 1 GiB pages, XD, rights over all levels, accessed and dirty.
%include "rom.inc"
%include "translation/pages.inc"
%define VA 0x0000018040201000   ; entries 3, 1, 1, 1
%macro FLAGS_OF 0
  LOG "pml4e", [gs:ROOT+24]
  LOG "pdpte", [gs:TABLE2+8]
  LOG "pde", [gs:TABLE3+8]
  LOG "pte", [gs:TABLE4+8]
%endmacro
%macro FRESH64 0
  mov qword [gs:ROOT+24], TABLE2+7
  mov qword [gs:TABLE2+8], TABLE3+7
  mov qword [gs:TABLE3+8], TABLE4+7
  mov qword [gs:TABLE4+8], FRAME+7
  RELOAD
%endmacro
%macro RESERVED 2         ; entry, bit
  mov rcx, [gs:%1]
  mov rdx, rcx
  bts rdx, %2
  mov [gs:%1], rdx
  RELOAD
  TRY mov eax, [rbx]
  TRY mov [rbx], eax
  mov [gs:%1], rcx
%endmacro
ROM
PM32
  CLEAR_TABLES
  LONG64
  mov dword [gs:FRAME], 0x600DF00D
  mov byte [gs:FRAME+0x10], 0xC3
  ; build_pages64 has its tables in the first three pages.
%undef TABLE2
%undef TABLE3
%undef TABLE4
%define TABLE2 PAGES+0x3000
%define TABLE3 PAGES+0x4000
%define TABLE4 PAGES+0x5000
  FRESH64
  mov rbx, VA
  LOG "read", [rbx]
  FLAGS_OF
  mov [rbx+4], eax
  FLAGS_OF
  ; What fails leaves no flags.
  FRESH64
  mov qword [gs:TABLE4+8], 0
  TRY mov eax, [rbx]
  FLAGS_OF
  FRESH64
  RESERVED ROOT+24, 7
  RESERVED ROOT+24, 63
  RESERVED TABLE2+8, 51
  RESERVED TABLE3+8, 45
  RESERVED TABLE4+8, 50
  RESERVED TABLE4+8, 63
  RESERVED TABLE4+8, 52
  RESERVED TABLE4+8, 62
  RESERVED TABLE4+8, 7
  FRESH64
  ; 2 MiB: bits 13 to 20; 1 GiB: bits 13 to 29.
  mov qword [gs:TABLE3+8], 0x87
  RELOAD
  mov rbx, 0x0000018040200000+FRAME
  LOG "2M", [rbx]
  RESERVED TABLE3+8, 12
  RESERVED TABLE3+8, 13
  RESERVED TABLE3+8, 20
  mov qword [gs:TABLE2+8], 0x87
  RELOAD
  mov rbx, 0x0000018040000000+FRAME
  LOG "1G", [rbx]
  RESERVED TABLE2+8, 12
  RESERVED TABLE2+8, 13
  RESERVED TABLE2+8, 29
  FLAGS_OF
  ; Rights count over all levels.
  FRESH64
  mov rbx, VA
  mov rax, cr0
  or eax, 0x10000
  mov cr0, rax
  and qword [gs:TABLE2+8], ~2
  RELOAD
  TRY mov [rbx], eax
  FRESH64
  NXE_ON
  bts qword [gs:ROOT+24], 63
  RELOAD
  lea rax, [rbx+0x10]
  TRY call rax
  mov rsp, STACK0
  btr qword [gs:ROOT+24], 63
  RELOAD
  lea rax, [rbx+0x10]
  TRY call rax
  ; SMEP: user pages are not for ring 0 to run.
  and qword [gs:PAGES+0x2000], ~4
  RELOAD
  mov rcx, cr4
  bts rcx, 20
  mov cr4, rcx
  lea rax, [rbx+0x10]
  TRY call rax
  mov rsp, STACK0
  and qword [gs:TABLE4+8], ~4
  RELOAD
  lea rax, [rbx+0x10]
  TRY call rax
  LOG "rsp", rsp
END
