; Port access in virtual-8086 mode always goes by the bitmap, whatever IOPL is.
%include "rom.inc"
ROM
PM32
  mov byte [TSS+0x68+0x10/8], 0x01
  V86 0x3000
  TRY in al, 0x10
  TRY in al, 0x11
  TRY in ax, 0x0F
  TRY in eax, 0x0D
  TRY in al, 0x18
END
