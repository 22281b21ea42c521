; INT n and IRET in real mode: three words, IF and TF cleared on entry and restored.
%include "rom.inc"
ROM
  mov word [gs:0x50*4], handler
  mov word [gs:0x50*4+2], 0xF000
  push word 0x0E02
  popf
  mov bp, sp
  int 0x50
  LOGFLAGS "flags after", 0x7700
  mov ax, sp
  sub ax, bp
  LOG16 "sp moved", ax
  cli
  jmp done
handler:
  pushf
  pop ax
  mov bx, sp
  LOG16 "inside", ax
  mov cx, [ss:bx]
  mov dx, [ss:bx+2]
  mov si, [ss:bx+4]
  LOG16 "ip", cx
  LOG16 "cs", dx
  LOG16 "fl", si
  iret
done:
END
