; Self-modifying code in 64-bit mode: RIP-relative, and by a locked exchange.
%include "rom.inc"
ROM
PM32
  LONG64
  lea rsi, [rel code]
  mov edi, DATA
  mov ecx, 64
  cld
  rep movsb
  mov eax, DATA
  xor ebx, ebx
  call rax
  LOG "rbx", rbx
  mov eax, DATA
  call rax
  LOG "rbx", rbx
  jmp done
code:
  inc byte [rel .x+2]
.x:
  add ebx, 1
  mov edx, 0x7F
  xchg dl, [rel .y+2]
.y:
  add ebx, 2
  lock xadd [rel .z+2], dl
.z:
  add ebx, 3
  ret
done:
END
