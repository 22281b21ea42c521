; Code changed through another linear address of the same frame.
%include "rom.inc"
%include "smc.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  COPY code
  PTE 0, DATA+7
  PTE 1, DATA+7
  PAGING_ON
  call FREE:V(0)
  LOG "eax", eax
  mov byte [V(1)+1], 0x44
  call FREE:V(0)
  LOG "eax", eax
  mov byte [DATA+2], 0x55
  call FREE:V(1)
  LOG "eax", eax
  call FREE:DATA
  LOG "eax", eax
  jmp done
code:
  mov eax, 0x12345678
  retf
done:
END
