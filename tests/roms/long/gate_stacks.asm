; Stacks of gates in long mode: an IST beyond the TSS's limit, one that is not canonical; call gates to ring 1 likewise.
%include "rom.inc"
ROM
PM32
  LONG64
  lea rax, [rel handler]
  mov [IDT+0x20*16], ax
  mov word [IDT+0x20*16+2], CODE64
  mov word [IDT+0x20*16+4], 0xEE02
  shr rax, 16
  mov [IDT+0x20*16+6], ax
  mov qword [IDT+0x20*16+8], 0
  mov rax, 0x800000000000
  mov [TSS+0x2C], rax
  TRY int 0x20
  mov qword [TSS+0x2C], STACK_B
  TRY int 0x20
  mov dword [GDT+FREE], (TSS & 0xFFFF) << 16 | 0x2B
  mov dword [GDT+FREE+4], 0x8900
  mov qword [GDT+FREE+8], 0
  mov ax, FREE
  ltr ax
  TRY int 0x20
  ; A call gate to 64-bit code of ring 1.
  GDTDESC FREE+16, 0, 0xFFFFF, 0xA0BB
  lea rax, [rel handler]
  mov [GDT+FREE+32], ax
  mov word [GDT+FREE+34], FREE+16
  mov word [GDT+FREE+36], 0xEC00
  shr rax, 16
  mov [GDT+FREE+38], ax
  mov qword [GDT+FREE+40], 0
  mov word [DATA+4], FREE+32+3
  push qword FLAT3
  push qword STACK3
  push qword 2
  push qword CODE64_3
  lea rax, [rel outside]
  push rax
  iretq
outside:
  mov rax, 0x800000000000
  mov [TSS+12], rax
  TRY call far dword [DATA]
  EXPECT .a
  int 0x40
.a:
  mov dword [GDT+FREE], (TSS & 0xFFFF) << 16 | 0xB
  mov dword [GDT+FREE+4], 0x8900
  mov ax, FREE
  ltr ax
  push qword FLAT3
  push qword STACK3
  push qword 2
  push qword CODE64_3
  lea rax, [rel again]
  push rax
  iretq
again:
  TRY call far dword [DATA]
  EXPECT done
  int 0x40
handler:
  LOG "rsp", rsp
  iretq
done:
END
