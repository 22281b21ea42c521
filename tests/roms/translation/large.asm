; 32-bit paging: CR4.PSE, 4 MiB pages, their reserved bit, what PS means without PSE.
%include "rom.inc"
%include "translation/pages.inc"
ROM
PM32
  CLEAR_TABLES
  IDENTITY TABLE0, 4
  mov dword [gs:ROOT], TABLE0+7
  mov dword [gs:ROOT+4], 0x00000087
  mov dword [gs:ROOT+8], TABLE1+0x87
  mov dword [gs:ROOT+12], 0x00200087
  mov dword [gs:TABLE1], FRAME+7
  mov dword [gs:FRAME], 0x11112222
  mov dword [gs:DATA], 0x33334444
  mov eax, ROOT
  mov cr3, eax
  SETCR4 0x10
  PAGING_ON
  LOG "data", [gs:0x400000+DATA]
  LOG "pde1", [gs:ROOT+4]
  mov [gs:0x400000+DATA], eax
  LOG "pde1", [gs:ROOT+4]
  TRY mov eax, [gs:0xC00000]
  TRY mov [gs:0xC00000], eax
  LOG "pde3", [gs:ROOT+12]
  mov dword [gs:ROOT+12], 0x00200086
  TRY mov eax, [gs:0xC00000]
  ; Bits 12 (PAT), 8 (G), 9 to 11.
  mov dword [gs:ROOT+16], 0x00001F87
  LOG "data", [gs:0x1000000+FRAME]
  CLEARCR4 0x10
  ; Now PS is ignored: the entry names a table.
  LOG "table", [gs:0x800000]
  LOG "pde2", [gs:ROOT+8]
  TRY mov eax, [gs:0x801000]
END
