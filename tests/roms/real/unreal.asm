; "Unreal mode": limits loaded in protected mode stay in real mode.
%include "rom.inc"
ROM
  call build_tables
  lgdt [cs:gdt_pointer]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  mov bx, FLAT
  mov ds, bx
  mov es, bx
  and al, 0xFE
  mov cr0, eax
  xor bx, bx
  mov ds, bx
  mov es, bx
  mov ebx, 0x180000
  TRY mov dword [ebx], 0x5A5A1234
  mov eax, 0
  TRY mov eax, [es:ebx]
  LOG "eax", eax
  TRY mov eax, [fs:ebx]
  mov ax, 0x1000
  mov ds, ax
  mov dword [ebx-0x10000], 0x11112222
  LOG "read", [es:ebx]
END
