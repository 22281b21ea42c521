; CR0.PG on and off again; PG without PE is refused; paging from a 16-bit segment.
%include "rom.inc"
%include "paging.inc"
ROM
  mov eax, cr0
  or eax, 0x80000000
  TRY mov cr0, eax
  mov eax, cr0
  and eax, ~1
  or eax, 0x20000000
  TRY mov cr0, eax
PM32
  PAGES32 7
  mov dword [F(0)], 1
  mov dword [V(0)], 2
  PAGING_ON
  LOG "on", [V(0)]
  mov eax, cr0
  and eax, 0x7FFFFFFF
  mov cr0, eax
  LOG "off", [V(0)]
  or eax, 0x80000000
  mov cr0, eax
  LOG "on", [V(0)]
  mov eax, cr0
  and eax, ~1
  TRY mov cr0, eax
END
