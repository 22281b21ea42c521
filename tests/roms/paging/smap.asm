; SMAP: ring 0 does not touch user pages but with AC set; implicit accesses never do. STAC, CLAC.
; bochs: cpu=broadwell_ult
%include "rom.inc"
%include "paging.inc"
ROM
  cpu default
PM32
  PAGES32 3
  PTE 1, F(1)+3
  PAGING_ON
  TRY stac
  LOGFLAGS "flags", 0x40000
  TRY clac
  LOGFLAGS "flags", 0x40000
  CR4_SET 0x200000
  TRY mov eax, [V(0)]
  TRY mov [V(0)], eax
  TRY mov eax, [V(1)]
  stac
  LOGFLAGS "flags", 0x40000
  TRY mov eax, [V(0)]
  TRY mov [V(0)], eax
  clac
  TRY mov eax, [V(0)]
  ; popfd sets AC as well.
  push dword 0x40002
  popfd
  TRY mov eax, [V(0)]
  ; A descriptor table in a user page: AC does not count.
  mov esi, GDT
  mov edi, V(0)
  mov ecx, 0x100
  rep movsd
  sub esp, 8
  mov word [esp], 0x3FF
  mov dword [esp+2], V(0)
  sgdt [DATA]
  lgdt [esp]
  mov ax, FLAT
  EXPECT .a
  mov ds, ax
.a:
  lgdt [cs:gdt_pointer]
  CR4_CLEAR 0x200000
  clac
  TRY mov eax, [V(0)]
END
