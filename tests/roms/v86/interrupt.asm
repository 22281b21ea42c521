; An interrupt out of virtual-8086 mode: nine words on the ring 0 stack, data segments null.
%include "rom.inc"
ROM
PM32
  GATE_LABEL IDT+0x20*8, CODE32, handler, 0xEE
  GATE_LABEL IDT+0x21*8, CODE1, handler, 0xEE
  GATE_LABEL IDT+0x22*8, CODE32, handler, 0x8E
  V86 0x3000
  mov ax, 0x1111
  mov ds, ax
  mov ax, 0x2222
  mov es, ax
  mov ax, 0x3333
  mov fs, ax
  int 0x20
  LOG16 "ds", ds
  LOG16 "es", es
  LOG16 "fs", fs
  LOG "esp", esp
  TRY int 0x21
  TRY int 0x22
  jmp done
  bits 32
handler:
  mov ebp, esp
  mov bx, ds
  mov cx, es
  mov dx, fs
  mov si, gs
  push dword FLAT
  pop ds
  LOG16 "ds", bx
  LOG16 "es", cx
  LOG16 "fs", dx
  LOG16 "gs", si
  LOG "esp", ebp
  LOG "eip", [ebp]
  LOG "cs", [ebp+4]
  LOG "eflags", [ebp+8]
  LOG "v86 esp", [ebp+12]
  LOG "v86 ss", [ebp+16]
  LOG "v86 es", [ebp+20]
  LOG "v86 ds", [ebp+24]
  LOG "v86 fs", [ebp+28]
  LOG "v86 gs", [ebp+32]
  iretd
  bits 16
done:
END
