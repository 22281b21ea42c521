; Code in RAM that changes itself in real mode, through another segment.
%include "rom.inc"
ROM
  mov ax, 0x900
  mov es, ax
  mov si, code
  xor di, di
  mov cx, 32
.copy:
  mov al, [cs:si]
  mov [es:di], al
  inc si
  inc di
  loop .copy
  xor bx, bx
  call 0x900:0
  movzx ebx, bx
  LOG "bx", ebx
  call 0x8F0:0x100
  movzx ebx, bx
  LOG "bx", ebx
  jmp done
code:
  mov ax, 0x880
  mov ds, ax
  add byte [0x800+.x-code+2], 3
.x:
  add bx, 1
  retf
done:
END
