; Code already run, changed further back, and jumped to again; by a 1-byte, a 2-byte and an 8-byte store.
%include "rom.inc"
%include "smc.inc"
ROM
PM32
  COPY code
  fninit
  xor ebx, ebx
  xor ecx, ecx
  call FREE:DATA
  LOG "ebx", ebx
  jmp done
code:
.again:
  add ebx, 0x01
  inc ecx
  cmp ecx, 2
  ja .third
  je .second
  mov byte [DATA+.again-code+2], 0x10
  jmp .again
.second:
  mov word [DATA+.again-code+1], 0x7FC3
  jmp .again
.third:
  cmp ecx, 4
  je .out
  fild qword [DATA+.data-code]
  fistp qword [DATA+.again-code]
  jmp .again
.out:
  retf
.data:
  db 0x83, 0xEB, 0x02, 0x41, 0x83, 0xF9, 0x02, 0x77
done:
END
