; Leaving long mode: paging off in compatibility mode, never in 64-bit mode.
%include "rom.inc"
ROM
PM32
  LONG64
  mov rax, cr0
  and eax, 0x7FFFFFFF
  TRY mov cr0, rax
  mov rax, cr4
  and al, 0xDF
  TRY mov cr4, rax
  mov ecx, 0xC0000080
  rdmsr
  and eax, ~0x100
  TRY wrmsr
  mov dword [DATA], compat
  mov word [DATA+4], CODE32
  mov ebx, FLAT
  mov ss, bx
  jmp far dword [DATA]
  bits 32
compat:
  mov bx, FLAT
  mov ds, bx
  mov gs, bx
  mov eax, cr0
  and eax, 0x7FFFFFFF
  mov cr0, eax
  mov ecx, 0xC0000080
  rdmsr
  LOG "efer", eax
  and eax, ~0x100
  wrmsr
  lidt [cs:idt_pointer]
  mov eax, cr4
  and al, 0xDF
  mov cr4, eax
  LOG16 "cs", cs
END
