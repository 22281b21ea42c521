; Page faults in virtual-8086 mode: user accesses, and the frame of nine words.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  mov dword [PAGES+0x1000+0x50*4], 0x50003
  mov dword [PAGES+0x1000+0x51*4], 0x51006
  PAGING_ON
  V86 0x3000
  mov ax, 0x5000
  mov ds, ax
  TRY mov al, [0x123]
  mov ax, 0x5100
  mov ds, ax
  TRY mov [0x10], ax
  mov ax, 0x50FF
  mov ds, ax
  TRY mov ax, [0xF]
  V86_END
END
