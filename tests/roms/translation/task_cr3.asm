; A task switch loads CR3: under 32-bit paging, under PAE with its registers.
%include "rom.inc"
%include "translation/pages.inc"
%define ROOT2 PAGES+0x5000
%define TSS_NEW FREE
%macro TASK 1             ; CR3 of the task
  mov dword [gs:TSS2+0x1C], %1
  mov dword [gs:TSS2+0x20], task
  mov dword [gs:TSS2+0x24], 2
  mov dword [gs:TSS2+0x38], STACK1
  mov dword [gs:TSS2+0x48], FLAT
  mov dword [gs:TSS2+0x4C], CODE32
  mov dword [gs:TSS2+0x50], FLAT
  mov dword [gs:TSS2+0x54], FLAT
  mov dword [gs:TSS2+0x58], FLAT
  mov dword [gs:TSS2+0x5C], FLAT
  mov dword [gs:TSS2+0x60], 0
  mov dword [gs:TSS2+0x64], 0x680000
%endmacro
ROM
PM32
  jmp start
task:
  PRINT {"task", 10}
  LOG "cr3", cr3
  mov eax, cr4
  test al, 0x20
  jnz .pae
  LOG "there", [gs:0x400000]
  iretd
.pae:
  LOG "there", [gs:0x40000000+FRAME]
  iretd
start:
  GDTDESC TSS_NEW, TSS2, 0x67, 0x0089
  CLEAR_TABLES
  IDENTITY TABLE0, 4
  mov dword [gs:ROOT], TABLE0+7
  mov dword [gs:ROOT+4], TABLE1+7
  mov dword [gs:TABLE1], FRAME+7
  mov dword [gs:ROOT2], TABLE0+7
  mov dword [gs:ROOT2+4], TABLE2+7
  mov dword [gs:TABLE2], FRAME+0x1007
  mov dword [gs:FRAME], 0x11111111
  mov dword [gs:FRAME+0x1000], 0x22222222
  mov dword [gs:TSS+0x1C], ROOT
  mov eax, ROOT
  mov cr3, eax
  PAGING_ON
  LOG "here", [gs:0x400000]
  TASK ROOT2
  call TSS_NEW:0
  LOG "here", [gs:0x400000]
  LOG "cr3", cr3
  LOG "saved cr3", [gs:TSS2+0x1C]
  PAGING_OFF
  ; PAE: the registers come from the table of the new CR3.
  CLEAR_TABLES
  IDENTITY TABLE3, 8
  mov dword [gs:ROOT], TABLE0+1
  mov dword [gs:TABLE0], TABLE3+7
  mov dword [gs:ROOT2], TABLE0+1
  mov dword [gs:ROOT2+8], TABLE1+1
  mov dword [gs:TABLE1], 0x87
  mov dword [gs:TSS+0x1C], ROOT
  mov eax, ROOT
  mov cr3, eax
  SETCR4 0x20
  PAGING_ON
  TRY mov eax, [gs:0x40000000]
  TASK ROOT2
  call TSS_NEW:0
  TRY mov eax, [gs:0x40000000]
  LOG "cr3", cr3
END
