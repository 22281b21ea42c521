; IST stacks, alignment of the frame, interrupts from ring 3 to RSP0.
%include "rom.inc"
ROM
PM32
  LONG64
  lea rax, [rel handler]
  mov [IDT+0x20*16], ax
  mov word [IDT+0x20*16+2], CODE64
  mov word [IDT+0x20*16+4], 0xEE01
  shr rax, 16
  mov [IDT+0x20*16+6], ax
  mov qword [IDT+0x20*16+8], 0
  mov rsp, STACK0-5
  int 0x20
  LOG "rsp", rsp
  mov byte [IDT+0x20*16+4], 0
  int 0x20
  LOG "rsp", rsp
  mov rsp, STACK0
  push qword FLAT3
  push qword STACK3+3
  push qword 2
  push qword CODE64_3
  lea rax, [rel outside]
  push rax
  iretq
outside:
  int 0x20
  LOG16 "cs", cs
  jmp done
handler:
  mov rbp, rsp
  LOG "frame", rbp
  LOG16 "ss", ss
  LOG "old rsp", [rbp+24]
  LOG "old ss", [rbp+32]
  iretq
done:
END
