; A task switch loads LDTR, and CR3 when paging is on.
%include "rom.inc"
ROM
PM32
  LDTDESC 0x04, DATA, 0xFFF, 0x4093
  mov edi, PAGES
  mov eax, 0x87
  mov [PAGES], eax
  mov dword [PAGES+0xFFC], 0
  mov [PAGES+0x1000], eax
  mov dword [DATA], 0xD00D
  mov eax, cr4
  or al, 0x10
  mov cr4, eax
  mov eax, PAGES
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  GDTDESC FREE, TSS2, 0x67, 0x0089
  mov dword [TSS2+0x1C], PAGES+0x1000
  mov dword [TSS2+0x20], task
  mov dword [TSS2+0x24], 0x02
  mov dword [TSS2+0x38], STACK_B
  mov dword [TSS2+0x48], 4
  mov dword [TSS2+0x4C], CODE32
  mov dword [TSS2+0x50], FLAT
  mov dword [TSS2+0x54], FLAT
  mov dword [TSS2+0x5C], FLAT
  mov dword [TSS2+0x60], MAINLDT
  mov dword [TSS+0x1C], PAGES
  call FREE:0
  mov eax, cr3
  LOG "cr3", eax
  sldt ax
  LOG16 "ldt", ax
  jmp done
task:
  mov eax, cr3
  LOG "task cr3", eax
  sldt ax
  LOG16 "task ldt", ax
  LOG "through ldt", [es:0]
  iretd
done:
END
