; REP and a page fault: the registers tell what was done before it, EIP is the instruction.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  mov edi, F(0)
  mov ecx, 0x800
  mov eax, 0x41424344
  rep stosd
  PTE 2, F(2)+6
  PTE 5, F(5)+6
  PAGING_ON
  mov esi, V(1)+0xFF4
  mov edi, V(3)
  mov ecx, 10
  TRY rep movsd
  LOG "ecx", ecx
  LOG "esi", esi
  LOG "edi", edi
  LOG "copied", [V(3)+8]
  LOG "not copied", [V(3)+12]
  mov edi, V(4)+0xFFA
  mov ecx, 20
  TRY rep stosw
  LOG "ecx", ecx
  LOG "edi", edi
  mov esi, V(3)
  mov edi, V(5)+2
  mov ecx, 7
  std
  TRY rep movsb
  cld
  LOG "ecx", ecx
  LOG "esi", esi
  LOG "edi", edi
  mov edi, V(1)+0xFF8
  mov ecx, 9
  mov eax, 0x41424344
  TRY repe scasd
  LOG "ecx", ecx
  LOG "edi", edi
  mov esi, V(2)
  mov ecx, 0
  TRY rep lodsd
  LOG "none", ecx
END
