; PAE paging: the four registers, when they are loaded, their reserved bits; reserved bits and rights below; XD.
%include "rom.inc"
%include "translation/pages.inc"
; Calls the RETF at a linear address. A fetch that faults does so in the flat segment.
%macro FETCH 1
  mov dword [gs:DATA], %1
  mov word [gs:DATA+4], FREE
  mov dword [gs:RESUME], BASE+%%back
  call far dword [gs:DATA]
  jmp %%done
%%back:
  jmp CODE32:%%in
%%in:
  mov esp, STACK0
%%done:
%endmacro
ROM
PM32
  CLEAR_TABLES
  IDENTITY TABLE1, 8
  mov dword [gs:ROOT], TABLE0+1
  mov dword [gs:ROOT+8], TABLE2+1
  mov dword [gs:TABLE0], TABLE1+7
  mov dword [gs:TABLE2], 0x87
  mov dword [gs:TABLE2+8], TABLE3+7
  mov dword [gs:TABLE3], FRAME+7
  mov dword [gs:TABLE3+8], FRAME+7
  mov dword [gs:TABLE3+16], FRAME+5
  mov dword [gs:FRAME], 0x55AA1234
  mov byte [gs:FRAME+0x10], 0xC3
  SETCR4 0x20
  mov eax, ROOT
  mov cr3, eax
  ; A reserved bit in an entry that is present; none in one that is not.
  mov dword [gs:ROOT+24], 0x3
  TRY mov cr3, eax
  mov eax, cr0
  or eax, 0x80000000
  TRY mov cr0, eax
  mov dword [gs:ROOT+24], 0xFFFFFFFE
  mov dword [gs:ROOT+28], 0xFFFFFFFF
  TRY mov cr0, eax
  LOG "cr0", cr0
  LOG "frame", [gs:0x40200000]
  LOG "large", [gs:0x40000000+FRAME]
  LOG "pdpte", [gs:ROOT+8]
  LOG "pde", [gs:TABLE2]
  LOG "pde", [gs:TABLE2+8]
  LOG "pte", [gs:TABLE3]
  TRY mov eax, [gs:0x80000000]
  TRY mov eax, [gs:0xC0000000]
  ; Memory is not looked at again until a register is written.
  mov dword [gs:ROOT+16], TABLE2+1
  TRY mov eax, [gs:0x80200000]
  mov eax, cr3
  mov cr3, eax
  LOG "now", [gs:0x80200000]
  mov dword [gs:ROOT+16], TABLE2+0x21
  TRY mov cr3, eax
  LOG "still", [gs:0x80200000]
  mov eax, cr4
  or eax, 0x80
  TRY mov cr4, eax
  mov dword [gs:ROOT+16], 0
  TRY mov cr4, eax
  TRY mov eax, [gs:0x80200000]
  ; Reserved bits.
  mov dword [gs:TABLE3+4], 0x40000000
  RELOAD
  TRY mov eax, [gs:0x40200000]
  mov dword [gs:TABLE3+4], 0x80000000
  RELOAD
  TRY mov eax, [gs:0x40200000]
  mov dword [gs:TABLE3+4], 0
  mov dword [gs:TABLE2], 0x2087
  RELOAD
  TRY mov [gs:0x40000000+FRAME], eax
  mov dword [gs:TABLE2], 0x87
  TRY mov [gs:0x40202000], eax
  ; XD. Without NXE a fetch is not reported.
  GDTDESC FREE, 0, 0xFFFFF, 0xC09B
  mov byte [gs:FRAME+0x10], 0xCB
  mov dword [gs:TABLE3+8], 0
  FETCH 0x40201000
  mov dword [gs:TABLE3+8], FRAME+7
  FETCH 0x40200010
  NXE_ON
  mov dword [gs:TABLE3+4], 0x80000000
  RELOAD
  LOG "read", [gs:0x40200010]
  FETCH 0x40200010
  mov dword [gs:TABLE3+8], FRAME+6
  RELOAD
  FETCH 0x40201010
  mov dword [gs:TABLE3+12], 0x80000000
  mov dword [gs:TABLE3+8], FRAME+3
  RELOAD
  LOG "read", [gs:0x40201010]
  FETCH 0x40201010
  RING3
  TRY mov eax, [gs:0x40201000]
  TRY mov eax, [gs:0x40200000]
  TRY mov [gs:0x40200000], eax
  RING0
  LOG "pte", [gs:TABLE3]
END
