; Far CALL and RET in real mode with both operand sizes.
%include "rom.inc"
ROM
  mov bp, sp
  call 0xF000:target16
  LOG16 "back", sp
  push word 0
  call dword 0xF000:target32
  pop ax
  mov word [gs:SCRATCH], target16
  mov word [gs:SCRATCH+2], 0xF000
  call far [gs:SCRATCH]
  LOG16 "back", sp
  jmp 0xF000:done
target16:
  mov bx, sp
  LOG16 "ip", [ss:bx]
  LOG16 "cs", [ss:bx+2]
  retf
target32:
  mov bx, sp
  LOG "eip", [ss:bx]
  LOG16 "cs", [ss:bx+4]
  o32 retf
done:
END
