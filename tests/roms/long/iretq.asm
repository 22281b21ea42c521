; IRETQ pops five words always; to ring 3, to ring 0 with a null SS, refusals.
%include "rom.inc"
ROM
PM32
  LONG64
  mov rbx, rsp
  push qword 0
  push rbx
  push qword 0x46
  push qword CODE64
  lea rax, [rel .a]
  push rax
  iretq
.a:
  LOG16 "ss", ss
  LOGFLAGS "flags", 0x46
  push qword 3
  push qword STACK3
  push qword 2
  push qword CODE64_3
  lea rax, [rel .b]
  push rax
  TRY iretq
.b:
  mov rsp, STACK0
  push qword FLAT3
  push qword STACK3
  push qword 2
  push qword CODE64_3
  mov rax, 0x8000000000000000
  push rax
  TRY iretq
  mov rsp, STACK0
  push qword FLAT
  push qword STACK3
  push qword 2
  push qword CODE64+1
  lea rax, [rel .c]
  push rax
  TRY iretq
.c:
  mov rsp, STACK0
  push qword 0
  push qword STACK0
  push qword 0x4002
  popfq
  TRY iretq
  push qword 2
  popfq
END
