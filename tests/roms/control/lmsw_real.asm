; LMSW enters protected mode; PE cannot be cleared by it.
%include "rom.inc"
ROM
  call build_tables
  lgdt [cs:gdt_pointer]
  lidt [cs:idt_pointer]
  smsw ax
  or al, 1
  lmsw ax
  jmp dword CODE32:.in
  bits 32
.in:
  mov ax, FLAT
  mov ss, ax
  mov ds, ax
  mov es, ax
  mov gs, ax
  mov esp, STACK0
  LOG "cr0", cr0
  xor eax, eax
  lmsw ax
  LOG "cr0", cr0
  TRY ud2
END
