; Page faults in virtual-8086 mode are user accesses; linear addresses beyond 1 MiB; A20 is on.
%include "rom.inc"
%include "translation/pages.inc"
ROM
PM32
  CLEAR_TABLES
  IDENTITY TABLE0, 4
  mov dword [gs:ROOT], TABLE0+7
  and dword [gs:TABLE0+0x40*4], ~4
  and dword [gs:TABLE0+0x41*4], ~2
  mov dword [gs:TABLE0+0x42*4], 0
  mov dword [gs:TABLE0+0x100*4], 0x00006
  mov eax, ROOT
  mov cr3, eax
  PAGING_ON
  V86 0x3000
  mov ax, 0x4000
  mov ds, ax
  TRY mov al, [0]
  TRY mov [0], al
  mov ax, 0x4100
  mov ds, ax
  TRY mov al, [0]
  TRY mov [0], al
  TRY mov ax, [0xFFF]
  TRY mov [0xFFF], ax
  mov ax, 0xFFFF
  mov ds, ax
  TRY mov al, [0x10]
  TRY mov al, [0xF]
  V86_END
  LOG "pte", [gs:TABLE0+0x40*4]
  LOG "pte", [gs:TABLE0+0x41*4]
END
