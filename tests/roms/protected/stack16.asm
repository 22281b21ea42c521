; A 16-bit stack in 32-bit code: SP moves, the upper half of ESP stays.
%include "rom.inc"
ROM
PM32
  mov ax, DATA16
  mov ss, ax
  mov esp, 0xABCD8000
  push eax
  mov [DATA], esp
  pop eax
  call .near
  mov [DATA+8], esp
  mov esp, 0x12340000
  pushad
  mov [DATA+12], esp
  popad
  mov [DATA+16], esp
  enter 8, 0
  mov [DATA+20], esp
  mov [DATA+24], ebp
  leave
  mov [DATA+28], esp
  mov esp, 0x56780002
  o16 push ax
  push eax
  mov [DATA+32], esp
  pop eax
  o16 pop ax
  mov [DATA+36], esp
  mov ax, FLAT
  mov ss, ax
  mov esp, STACK0
%assign i 0
%rep 10
  LOG "esp", [DATA+i*4]
%assign i i+1
%endrep
  jmp .end
.near:
  mov [DATA+4], esp
  ret
.end:
END
