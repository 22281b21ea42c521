; Between setting PE and the far jump the old CS goes on; CPL is 0.
%include "rom.inc"
ROM
  call build_tables
  lgdt [cs:gdt_pointer]
  mov eax, cr0
  inc ax
  mov cr0, eax
  mov ax, cs
  mov dx, ax
  sldt bx
  mov ecx, cr0
  dec cx
  mov cr0, ecx
  LOG16 "cs", dx
  LOG16 "ldtr", bx
END
