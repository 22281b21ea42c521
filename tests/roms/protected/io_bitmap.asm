; The I/O permission bitmap at ring 3: bits, both bytes of a word, its end, TSS limit.
%include "rom.inc"
ROM
PM32
  mov word [TSS+0x66], 0x80
  mov dword [TSS+0x80], 0xFFFFFFFF
  mov dword [TSS+0x84], 0xFFFFFFFF
  mov byte [TSS+0x80+0x70/8], 0
  mov byte [TSS+0x80+0x78/8], 1
  RING3
  TRY in al, 0x10
  TRY in al, 0x70
  TRY in ax, 0x77
  TRY in al, 0x77
  TRY in eax, 0x74
  TRY in eax, 0x75
  TRY out 0x10, al
  mov dx, 0x1500
  TRY in al, dx
  mov dx, 0x13F7
  TRY in al, dx
  mov dx, 0x13F8
  TRY in al, dx
  RING0
  mov dx, 0x1500
  TRY in al, dx
END
