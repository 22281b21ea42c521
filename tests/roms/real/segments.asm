; Real mode: a segment register's base is its selector times 16; loads leave limit and attributes alone.
%include "rom.inc"
ROM
  mov ax, 0x0B00
  mov ds, ax
  mov dword [0x10], 0x12345678
  LOG "through gs", [gs:0xB010]
  mov ax, 0x0AFF
  mov es, ax
  LOG "through es", [es:0x20]
  mov ax, 0xFFFF
  mov fs, ax
  mov dword [gs:0x100010], 0
  TRY mov dword [fs:0x20], 0xCAFE1234
  mov si, 0x20
  mov eax, [fs:si]
  LOG "above 1 MiB", eax
END
