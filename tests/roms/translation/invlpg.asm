; Changed entries are seen after INVLPG, MOV to CR3 and changes of CR0 and CR4, also of global and large pages.
%include "rom.inc"
%include "translation/pages.inc"
%macro REMAP 1            ; other: 0 or 1
  mov eax, [gs:0x400000]
  mov dword [gs:TABLE1], FRAME+0x107+0x1000*(%1)
%endmacro
ROM
PM32
  CLEAR_TABLES
  IDENTITY TABLE0, 4
  mov dword [gs:ROOT], TABLE0+7
  mov dword [gs:ROOT+4], TABLE1+7
  mov dword [gs:ROOT+8], 0x00000187
  mov dword [gs:TABLE1], FRAME+0x107
  mov dword [gs:FRAME], 0x11111111
  mov dword [gs:FRAME+0x1000], 0x22222222
  mov eax, ROOT
  mov cr3, eax
  SETCR4 0x90
  PAGING_ON
  REMAP 1
  invlpg [gs:0x400FFF]
  LOG "invlpg", [gs:0x400000]
  REMAP 0
  CLEARCR4 0x80
  LOG "pge off", [gs:0x400000]
  REMAP 1
  RELOAD
  LOG "cr3", [gs:0x400000]
  SETCR4 0x80
  REMAP 0
  CLEARCR4 0x80
  SETCR4 0x80
  LOG "pge on", [gs:0x400000]
  REMAP 1
  PAGING_OFF
  PAGING_ON
  LOG "pg", [gs:0x400000]
  ; 4 MiB: one INVLPG for both halves.
  mov dword [gs:0x200000], 0x33333333
  LOG "low", [gs:0x800000+FRAME]
  LOG "high", [gs:0xA00000]
  mov dword [gs:ROOT+8], 0
  invlpg [gs:0x800000]
  TRY mov eax, [gs:0x800000+FRAME]
  TRY mov eax, [gs:0xA00000]
  mov dword [gs:ROOT+8], 0x00000187
  LOG "high", [gs:0xA00000]
  RING3
  TRY invlpg [gs:0x400000]
  RING0
  ; No segment check, no fault for what is not mapped.
  TRY invlpg [gs:0xFFFFF000]
  TRY invlpg [cs:0x12345678]
END
