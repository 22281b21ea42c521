; Virtual-8086 mode: bases are selectors times 16, limits 64 KiB; entered with any selector.
%include "rom.inc"
ROM
PM32
  V86 0x3000
  mov ax, 0x0B00
  mov ds, ax
  mov dword [4], 0xABCD0123
  LOG "gs", [gs:0xB004]
  mov bx, 0xFFFF
  TRY mov ax, [bx]
  mov ebx, 0x10000
  TRY mov al, [ebx]
  mov ebp, 0xFFFE
  TRY mov eax, [bp]
  mov dword [cs:0xFF00], 0
  LOG "rom", [cs:0xFFF0]
  pushfd
  pop eax
  LOG "flags", eax
  LOG16 "cs", cs
END
