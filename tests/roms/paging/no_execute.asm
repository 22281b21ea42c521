; NX under PAE: fetches fault with I in the error code, data accesses do not; I is absent without NXE.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES_PAE 7
  GDTDESC FREE, 0, 0xFFFFF, 0xC09B
  GDTDESC FREE+8, 0, 0xFFFFF, 0xC0FB
  mov byte [F(0)+0x10], 0xCB
  PTE 3, 0
  PAGING_ON
  NXE 1
  call FREE:V(0)+0x10
  PRINT {"called", 10}
  PTE_HIGH 0, 0x80000000
  FLUSH
  CALL_FLAT FREE, V(0)+0x10
  mov eax, [V(0)]
  CALL_FLAT FREE, V(3)
  PTE_HIGH 0, 0
  mov dword [PAGES+0x1014], 0x80000000
  FLUSH
  CALL_FLAT FREE, V(0)+0x10
  mov dword [PAGES+0x1014], 0
  NXE 0
  FLUSH
  CALL_FLAT FREE, V(3)
  NXE 1
  PTE_HIGH 0, 0x80000000
  FLUSH
  push dword FLAT3
  push dword STACK3
  push dword 2
  push dword FREE+8+3
  push dword V(0)+0x10
  mov dword [gs:RESUME], BASE+.e
  iretd
.e:
  jmp CODE3:.f
.f:
END
