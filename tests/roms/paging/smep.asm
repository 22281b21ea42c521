; SMEP: ring 0 does not fetch from user pages; the error code has P and I, even without NXE.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 3
  ; Ring 3 has its stack and the code's page in a map of its own.
  GDTDESC FREE, 0, 0xFFFFF, 0xC09B
  mov byte [F(0)], 0xCB
  mov byte [F(1)], 0xCB
  PTE 1, F(1)+3
  PAGING_ON
  call FREE:V(0)
  PRINT {"off", 10}
  CR4_SET 0x100000
  CALL_FLAT FREE, V(0)
  call FREE:V(1)
  PRINT {"supervisor page", 10}
  mov eax, [V(0)]
  mov dword [PAGES+4], PT1+3
  FLUSH
  call FREE:V(0)
  PRINT {"supervisor directory", 10}
  mov dword [PAGES+4], PT1+7
  FLUSH
  CALL_FLAT FREE, V(0)
  CR4_CLEAR 0x100000
  call FREE:V(0)
  PRINT {"off again", 10}
END
