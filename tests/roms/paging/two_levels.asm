; 32-bit paging: translation, and the faults of either level that is not present.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  mov dword [F(1)+0xFFC], 0x11223344
  PTE 2, F(2)+6
  mov dword [PAGES+0x100*4], 0x6
  PAGING_ON
  LOG "cr0", cr0
  mov eax, [V(1)+0xFFC]
  LOG "read", eax
  mov dword [V(3)], 0x55667788
  LOG "written", [F(3)]
  TRY mov eax, [V(2)+0x123]
  TRY mov [V(2)+0xFFF], al
  TRY mov eax, [0x40000123]
  TRY add dword [0xFFFFFFFC], 1
  RING3
  TRY mov eax, [V(2)+0x123]
  TRY mov [V(2)+0xFFF], al
  TRY mov eax, [0x40000123]
  RING0
END
