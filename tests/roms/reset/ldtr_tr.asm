; LDTR and TR after reset, seen from protected mode; CS keeps its base until the first far jump.
%include "rom.inc"
ROM
  call build_tables
  lgdt [cs:gdt_pointer]
  lidt [cs:idt_pointer]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword CODE32:.in
  bits 32
.in:
  mov ax, FLAT
  mov ss, ax
  mov ds, ax
  mov es, ax
  mov gs, ax
  mov esp, STACK0
  mov eax, -1
  sldt eax
  LOG "ldtr", eax
  mov eax, -1
  str eax
  LOG "tr", eax
  mov ax, 0x0C
  TRY mov fs, ax
  TRY int 0x40
END
