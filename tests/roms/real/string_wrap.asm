; String instructions wrap SI and DI at 64 KiB; words at FFFFH do not fit.
%include "rom.inc"
ROM
  mov ax, 0x2000
  mov ds, ax
  mov es, ax
  mov byte [0xFFFF], 0x11
  mov byte [0], 0x22
  mov si, 0xFFFF
  mov di, 0x10
  mov cx, 2
  rep movsb
  LOG16 "moved", [0x10]
  LOG16 "si", si
  mov si, 0xFFFF
  TRY lodsw
  mov di, 0xFFFE
  mov cx, 4
  mov ax, 0x5566
  rep stosw
  LOG16 "di", di
  LOG16 "at 0", [0]
  mov di, 0xFFFD
  mov cx, 4
  TRY rep stosw
  LOG16 "cx", cx
  LOG16 "di", di
  mov ecx, 3
  mov edi, 0xFFFF
  mov al, 9
  TRY a32 rep stosb
  LOG "edi", edi
  LOG "ecx", ecx
END
