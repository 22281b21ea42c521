; #GP of the segment comes before #PF of the page; CR2 stays as it was through other exceptions.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  PTE 1, 0
  GDTDESC FREE, 0, V(1) >> 12, 0xC093
  GDTDESC FREE+8, 0, (V(1) >> 12) - 1, 0xC093
  mov ax, FREE
  mov es, ax
  mov ax, FREE+8
  mov fs, ax
  PAGING_ON
  mov eax, 0xABCDE
  mov cr2, eax
  TRY mov eax, [fs:V(1)]
  TRY mov eax, [fs:V(0)+0xFFE]
  mov eax, cr2
  LOG "cr2", eax
  TRY mov eax, [es:V(1)]
  TRY mov eax, [es:V(1)+0xFFE]
  mov eax, cr2
  LOG "cr2", eax
  ; The source is read before the destination is looked at.
  mov esi, V(1)
  mov edi, V(1)+8
  TRY movsd
  TRY push dword [V(1)]
  TRY xchg [V(1)], eax
END
