; An IRET to an outer level makes null selectors of 1, 2 and 3 zero, and leaves the base of FS and GS; one to the same
; level changes nothing.
%include "rom.inc"
ROM
PM32
  LONG64
  mov eax, 3
  mov ds, ax
  mov eax, 2
  mov es, ax
  mov eax, 1
  mov fs, ax
  mov eax, 3
  mov gs, ax
  mov ecx, 0xc0000100
  mov eax, 0x9000
  xor edx, edx
  wrmsr
  mov qword [0x9000], 0x1234
  mov rbx, rsp
  push qword 0
  push rbx
  push qword 2
  push qword CODE64
  lea rax, [rel .same]
  push rax
  iretq
.same:
  LOG16 "ds", ds
  LOG16 "es", es
  LOG16 "fs", fs
  LOG16 "gs", gs
  push qword FLAT3
  push qword STACK3
  push qword 0x3002
  push qword CODE64_3
  lea rax, [rel .outer]
  push rax
  iretq
.outer:
  LOG16 "ds", ds
  LOG16 "es", es
  LOG16 "fs", fs
  LOG16 "gs", gs
  mov rax, [fs:0]
  LOG "base", rax
END
