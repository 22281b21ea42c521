; Descriptor tables, TSS and IDT are read as supervisor even from ring 3: U is 0 in the error code.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  ; The GDT's second page is missing; a selector that lies there.
  mov dword [PAGES+0x1000+0x12*4], 0
  sub esp, 8
  mov word [esp], 0x1FFF
  mov dword [esp+2], V(0)
  mov esi, GDT
  mov edi, F(0)
  mov ecx, 0x100
  rep movsd
  PTE 0, F(0)+3
  PTE 1, F(1)+2
  lgdt [esp]
  add esp, 8
  PAGING_ON
  RING3
  mov ax, 0x1013
  TRY mov ds, ax
  TRY lar eax, eax
  TRY verr ax
  mov ax, FLAT3
  TRY mov ds, ax
  LOG16 "ds", ds
  TRY mov eax, [V(0)]
  RING0
END
