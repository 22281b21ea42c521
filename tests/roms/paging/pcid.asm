; CR4.PCIDE: only in long mode and with CR3 clear below bit 12; bit 63 of CR3 is not kept.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  mov eax, 0x20020
  TRY mov cr4, eax
  LONG64
  PAGES_LONG
  mov eax, PAGES+0x18
  mov cr3, rax
  mov rax, cr4
  bts rax, 17
  TRY mov cr4, rax
  mov eax, PAGES
  mov cr3, rax
  mov rax, cr4
  bts rax, 17
  TRY mov cr4, rax
  mov rax, cr4
  LOG "cr4", rax
  mov dword [F(0)], 0xA
  mov dword [F(1)], 0xB
  mov eax, [V(0)]
  mov eax, PAGES+5
  mov cr3, rax
  mov eax, [V(0)]
  LOG "in 5", rax
  PTE 0, F(1)+7
  mov eax, PAGES+5
  mov cr3, rax
  mov eax, [V(0)]
  LOG "in 5", rax
  mov rax, 0x8000000000000000+PAGES+6
  TRY mov cr3, rax
  mov rax, cr3
  LOG "cr3", rax
  mov eax, [V(0)]
  LOG "in 6", rax
  mov rax, cr0
  and eax, 0x7FFFFFFF
  TRY mov cr0, rax
  mov rax, cr4
  btr rax, 17
  TRY mov cr4, rax
  mov rax, cr3
  LOG "cr3", rax
END
