; An instruction across two pages, the second of which is missing: CR2 is its first byte, EIP the instruction.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 3
  GDTDESC FREE, 0, 0xFFFFF, 0xC09B
  PTE 1, F(1)+6
  mov dword [F(0)+0xFFD], 0x3412B890
  PAGING_ON
  CALL_FLAT FREE, V(0)+0xFFD
  mov byte [F(0)+0xFFF], 0xB8
  mov dword [F(1)], 0x00001234
  mov byte [F(1)+4], 0xCB
  PTE 1, F(1)+7
  FLUSH
  call FREE:V(0)+0xFFF
  LOG "eax", eax
  PTE 1, F(5)+7
  mov dword [F(5)], 0x00009999
  mov byte [F(5)+4], 0xCB
  invlpg [V(1)]
  call FREE:V(0)+0xFFF
  LOG "remapped", eax
  CR4_SET 0x100000
  PTE 2, 0
  FLUSH
  CALL_FLAT FREE, V(2)
END
