; Expand-down segments: offsets above the limit, up to 64 KiB or 4 GiB by the B bit.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, 0, 0xAFFF, 0x0097
  GDTDESC FREE+8, 0, 0x0000A, 0xC097
  mov ax, FREE
  mov es, ax
  mov ax, FREE+8
  mov fs, ax
  TRY mov al, [es:0xAFFF]
  TRY mov al, [es:0xB000]
  TRY mov al, [es:0xFFFF]
  TRY mov ax, [es:0xFFFF]
  TRY mov eax, [es:0x10000]
  TRY mov al, [fs:0xAFFF]
  TRY mov al, [fs:0xB000]
  TRY mov al, [fs:0x1000000]
  TRY mov eax, [es:0xAFFE]
END
