; #AC: only at ring 3 with CR0.AM and EFLAGS.AC.
%include "rom.inc"
ROM
PM32
  mov eax, cr0
  or eax, 0x40000
  mov cr0, eax
  push dword 0x40002
  popfd
  TRY mov eax, [DATA+1]
  RING3
  TRY mov eax, [DATA+1]
  push dword 0x40002
  popfd
  EXPECT .a
  mov eax, [DATA+1]
.a:
  EXPECT .b
  mov ax, [DATA+1]
.b:
  EXPECT .c
  mov al, [DATA+1]
  mov eax, [DATA+4]
  mov ebx, [DATA+6]
.c:
  push dword 2
  popfd
END
