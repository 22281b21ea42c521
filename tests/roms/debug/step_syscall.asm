; Single step over SYSCALL: SFMASK may clear TF for the handler; SYSRET brings it back.
%include "rom.inc"
%include "debug.inc"
%include "paging.inc"
ROM
PM32
  LONG64
  DEBUG64
  mov ecx, 0xC0000080
  rdmsr
  or eax, 1
  wrmsr
  mov ecx, 0xC0000081
  xor eax, eax
  mov edx, (FREE+16) << 16 | FREE
  wrmsr
  mov ecx, 0xC0000082
  lea rax, [rel entry]
  xor edx, edx
  wrmsr
  mov ecx, 0xC0000084
  mov eax, 0x100
  wrmsr
  GDTDESC FREE, 0, 0xFFFFF, 0xA09B
  GDTDESC FREE+8, 0, 0xFFFFF, 0xC093
  GDTDESC FREE+24, 0, 0xFFFFF, 0xC0F3
  GDTDESC FREE+32, 0, 0xFFFFF, 0xA0FB
  RING3_64
  STEP_ON
  nop
  syscall
  nop
  nop
  STEP_OFF
  jmp done
entry:
  nop
  nop
  o64 sysret
done:
END
