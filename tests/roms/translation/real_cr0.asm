; Paging in one step with protected mode from real mode; a page fault's flags and error code in 16-bit code.
%include "rom.inc"
%include "translation/pages.inc"
ROM
  mov eax, 0x80000000
  TRY mov cr0, eax
PM16
  bits 16
  mov ax, FLAT
  mov es, ax
  mov edi, PAGES
  mov ecx, 0x2000/4
  xor eax, eax
  a32 rep stosd
  mov dword [gs:dword ROOT], TABLE0+7
  mov edi, TABLE0
  mov eax, 7
.next:
  mov [gs:edi], eax
  add edi, 4
  add eax, 0x1000
  cmp edi, TABLE0+0x400
  jne .next
  mov eax, ROOT
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  LOG "cr0", cr0
  TRY mov eax, [gs:dword 0x100000]
  TRY mov [gs:dword 0x100000], al
  mov eax, cr0
  and eax, 0x7FFFFFFF
  mov cr0, eax
  TRY mov eax, [gs:dword 0x100000]
  LOG "pte", [gs:dword TABLE0+0xF0*4]
END
