; A call gate in long mode: 16 bytes, 64-bit code, stack from RSP0, words of 8 bytes.
%include "rom.inc"
ROM
PM32
  LONG64
  lea rax, [rel inner]
  mov [GDT+FREE], ax
  mov word [GDT+FREE+2], CODE64
  mov word [GDT+FREE+4], 0xEC00
  shr rax, 16
  mov [GDT+FREE+6], ax
  mov qword [GDT+FREE+8], 0
  mov dword [DATA], 0
  mov word [DATA+4], FREE+3
  push qword FLAT3
  push qword STACK3
  push qword 2
  push qword CODE64_3
  lea rax, [rel outside]
  push rax
  iretq
outside:
  push qword 0x55
  call far dword [DATA]
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG "rsp", rsp
  jmp done
inner:
  mov rbp, rsp
  LOG "rsp", rbp
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG "rip", [rbp]
  LOG "old cs", [rbp+8]
  LOG "old rsp", [rbp+16]
  LOG "old ss", [rbp+24]
  o64 retf
done:
END
