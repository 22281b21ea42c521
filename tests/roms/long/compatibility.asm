; 64-bit to compatibility mode and back by far transfers; 16-bit code in compatibility mode.
%include "rom.inc"
ROM
PM32
  LONG64
  mov rax, 0x123456789ABCDEF0
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
  LOG "eax", eax
  inc eax
  LOG16 "cs", cs
  call CODE64:BASE+inside
  LOG "eax", eax
  jmp CODE16:sixteen
  bits 64
inside:
  LOG "rax", rax
  retf
  bits 16
sixteen:
  mov bx, DATA16
  mov ss, bx
  LOG16 "cs", cs
  mov bx, FLAT
  mov ss, bx
  TRY ud2
END
