; A breakpoint at the end of a page, hit by an access across two pages.
%include "rom.inc"
%include "debug.inc"
%include "paging.inc"
ROM
PM32
  DEBUG32
  PAGES32 7
  PTE 1, F(5)+7
  PAGING_ON
  BREAK 0, V(0)+0xFFF, WRITE1
  BREAK 1, V(1), WRITE1
  mov dword [V(0)+0xFFE], 1
  mov dword [V(0)+0xFFC], 1
  mov dword [V(1)], 1
  ; Breakpoints are linear: another map of the same frame is not watched.
  PTE 2, F(5)+7
  mov dword [V(2)], 1
  mov word [V(0)+0xFFF], 1
  BREAKS_OFF
END
