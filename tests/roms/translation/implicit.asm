; Accesses of the processor itself are supervisor accesses at any CPL: the LDT and the GDT on pages of every kind.
%include "rom.inc"
%include "translation/pages.inc"
%macro LOADS 0
  mov eax, 0x0C             ; entry 1 of the LDT, on its second page from 0x200 on
  TRY mov es, ax
  LOG16 "es", es
  mov eax, 0x1007
  TRY mov es, ax
  mov eax, 0x1007
  TRY lar ecx, eax
  LOGFLAGS "zf", 0x40
%endmacro
ROM
PM32
  CLEAR_TABLES
  IDENTITY TABLE0, 4
  mov dword [gs:ROOT], TABLE0+7
  mov dword [gs:ROOT+4], TABLE1+7
  ; The LDT: two pages at 4 MiB; the second is not there. User data in entry 1 and 512.
  mov dword [gs:TABLE1], FRAME+3
  DESC FRAME, 8, 0, 0xFFFFF, 0xC0F2
  GDTDESC FREE, 0x400000, 0x1FFF, 0x0082
  mov eax, ROOT
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80010000
  mov cr0, eax
  mov ax, FREE
  lldt ax
  RING3
  LOADS
  RING0
  LOG "descriptor", [gs:FRAME+12]
  LOG "pte", [gs:TABLE1]
  ; A descriptor on a page that is read-only: the accessed flag cannot be set.
  mov byte [gs:FRAME+13], 0xF2
  mov dword [gs:TABLE1], FRAME+1
  RELOAD
  RING3
  LOADS
  RING0
  LOG "descriptor", [gs:FRAME+12]
  mov eax, cr0
  and eax, ~0x10000
  mov cr0, eax
  RING3
  LOADS
  RING0
  LOG "descriptor", [gs:FRAME+12]
  LOG "pte", [gs:TABLE1]
  ; SGDT and LGDT are accesses of the program.
  mov dword [gs:TABLE1], FRAME+3
  RELOAD
  RING3
  TRY sgdt [gs:0x400100]
  TRY sgdt [gs:0x400FFE]
  RING0
  TRY lgdt [gs:0x400FFC]
  TRY sidt [gs:0x400FFE]
END
