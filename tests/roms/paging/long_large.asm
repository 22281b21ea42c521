; 1 GiB and 2 MiB pages: translation, D and A in their entries.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  LONG64
  mov dword [PAGES+0x1008], 0x87
  mov dword [PAGES+0x1010], 0x83
  FLUSH
  mov dword [DATA], 0x600D
  mov eax, [0x40000000+DATA]
  LOG "1 GiB", rax
  LOG "entry", [PAGES+0x1008]
  mov dword [0x40000000+DATA], 0x900D
  LOG "entry", [PAGES+0x1008]
  LOG "written", [DATA]
  mov rbx, 0x80000000+DATA
  mov eax, [rbx]
  RING3_64
  mov eax, [0x40000000+DATA]
  TRY mov eax, [rbx]
  RING0_64
  mov byte [PAGES+0x1010], 0x85
  WP 1
  FLUSH
  TRY mov [rbx], eax
  LOG "entry", [PAGES+0x1010]
END
