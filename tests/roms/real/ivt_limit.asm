; A vector beyond IDTR's limit is #GP in real mode.
%include "rom.inc"
ROM
  lidt [cs:short_idt]
  TRY int 0x50
  TRY int 0x10
  lidt [cs:long_idt]
  LOG "count", [gs:COUNTER]
  jmp done
short_idt:
  dw 0x3F
  dd 0
long_idt:
  dw 0x3FF
  dd 0
done:
END
