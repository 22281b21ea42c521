; Single step over SYSCALL: SFMASK may clear TF for the handler; SYSRET brings it back.
%include "rom.inc"
%include "debug.inc"
%include "paging.inc"
ROM
PM32
  LONG64
  mov word [abs IDT+16], stepped
  mov qword [abs SCRATCH], 0
  mov qword [abs SCRATCH+8], 0
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
stepped:
  push rax
  mov rax, [rsp+16]
  and eax, 3
  inc dword [abs SCRATCH+rax*4]
  pop rax
  iretq
done:
  RING0_64
  mov eax, [abs SCRATCH]
  LOG "traps in ring 0", rax
  mov eax, [abs SCRATCH+12]
  LOG "traps in ring 3", rax
END
