; Single step and breakpoints in real mode.
%include "rom.inc"
%include "debug.inc"
ROM
  mov word [gs:1*4], handler
  mov word [gs:1*4+2], 0xF000
  BREAK 0, BASE+here, EXECUTE
  BREAK 1, DATA, WRITE2
  mov ax, DATA >> 4
  mov ds, ax
here:
  nop
  mov [0], ax
  mov [2], ax
  push word 0x102
  popf
  mov [1], ax
  mov cx, 2
.again:
  loop .again
  push word 2
  popf
  jmp done
handler:
  push bp
  mov bp, sp
  push eax
  LOG16 "ip", [bp+2]
  LOG16 "fl", [bp+6]
  mov eax, dr6
  LOG "dr6", eax
  mov eax, 0xFFFF0FF0
  mov dr6, eax
  ; The frame of real mode has no RF: go on without the first breakpoint.
  mov eax, dr7
  and eax, ~1
  mov dr7, eax
  pop eax
  pop bp
  iret
done:
END
