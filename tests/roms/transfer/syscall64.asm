; SYSCALL and SYSRET in long mode: selectors from STAR, flags through SFMASK and R11.
%include "rom.inc"
ROM
PM32
  LONG64
  mov ecx, 0xC0000080
  rdmsr
  TRY syscall
  or eax, 1
  wrmsr
  mov ecx, 0xC0000081
  xor eax, eax
  mov edx, (0x40 << 16) | CODE64
  wrmsr
  mov ecx, 0xC0000082
  lea rax, [rel entry]
  xor edx, edx
  wrmsr
  mov ecx, 0xC0000084
  mov eax, 0x4700
  wrmsr
  ; SYSRET to 64-bit code takes CS from STAR + 16 and SS from STAR + 8.
  mov dword [GDT+0x48], 0x0000FFFF
  mov dword [GDT+0x4C], 0x00CFF300
  push qword FLAT3
  push qword STACK3
  push qword 0x2
  push qword CODE64_3
  lea rax, [rel outside]
  push rax
  iretq
outside:
  LOG16 "cs", cs
  mov r11, 0x1234
  syscall
after:
  LOG16 "cs", cs
  LOG16 "ss", ss
  pushfq
  pop rax
  LOG "flags", rax
  TRY sysret
  jmp done
entry:
  mov rsp, STACK0
  mov rbx, rcx
  mov rbp, r11
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG "rcx", rbx
  LOG "r11", rbp
  LOGFLAGS "flags", 0x4700
  mov rcx, rbx
  mov r11, 0x3C7EFF & ~0x100
  o64 sysret
done:
END
