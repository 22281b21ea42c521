; The same linear address leads to other code after a change of its table entry, or of CR3.
%include "rom.inc"
%include "smc.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  COPY code
  mov byte [F(1)], 0xB8
  mov dword [F(1)+1], 0x1111
  mov byte [F(1)+5], 0xCB
  PTE 0, DATA+7
  PAGING_ON
  call FREE:V(0)
  LOG "eax", eax
  PTE 0, F(1)+7
  invlpg [V(0)]
  call FREE:V(0)
  LOG "eax", eax
  PTE 0, DATA+7
  FLUSH
  call FREE:V(0)
  LOG "eax", eax
  jmp done
code:
  mov eax, 0x12345678
  retf
done:
END
