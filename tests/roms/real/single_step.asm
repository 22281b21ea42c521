; Single step in real mode: a trap after each instruction, with its flags.
%include "rom.inc"
ROM
  mov dword [gs:SCRATCH], 0
  mov word [gs:1*4], step
  mov word [gs:1*4+2], 0xF000
  push word 0x0102
  popf
  nop
  mov ax, 5
  xor ax, ax
  push word 2
  popf
  nop
  LOG "steps", [gs:SCRATCH]
  jmp done
step:
  push bp
  mov bp, sp
  inc dword [gs:SCRATCH]
  LOG16 "step", [bp+2]
  pop bp
  iret
done:
END
