; 4 MiB pages: CR4.PSE, D in the directory, reserved bit 21.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  mov dword [PAGES+2*4], 0x87
  mov dword [PAGES+3*4], PT1+0x87
  mov dword [PAGES+4*4], 0x200087
  mov dword [PAGES+5*4], 0x85
  mov dword [PAGES+6*4], 0x83
  PAGING_ON
  ; Without CR4.PSE bit 7 is ignored: a table.
  mov dword [F(1)], 0xAAAA5555
  mov eax, [0xC00000+0x1000]
  LOG "PS ignored", eax
  CR4_SET 0x10
  mov eax, [0x800000+F(1)]
  LOG "4 MiB page", eax
  LOG "entry", [PAGES+2*4]
  mov dword [0x800000+F(1)], 1
  LOG "entry", [PAGES+2*4]
  LOG "written", [F(1)]
  TRY mov eax, [0x1000000]
  TRY mov [0x1000000], eax
  WP 1
  TRY mov [0x1400000], eax
  RING3
  TRY mov eax, [0x1800000]
  TRY mov eax, [0x1000000]
  TRY mov [0x1400000], eax
  RING0
  LOG "entry 5", [PAGES+5*4]
  LOG "entry 6", [PAGES+6*4]
END
