; U/S and R/W of both levels, read and written from ring 3 and ring 0.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  ; V(n): all pairs of the two bits in the table; directory entries 2 to 4 restrict the same table.
%assign i 0
%rep 4
  PTE i, F(i)+1+i*2
%assign i i+1
%endrep
  mov dword [PAGES+2*4], PT1+5
  mov dword [PAGES+3*4], PT1+3
  mov dword [PAGES+4*4], PT1+1
  PAGING_ON
  RING3
  mov ebx, V(0)
.next:
  LOG "page", ebx
  TRY mov eax, [ebx]
  TRY mov [ebx+4], eax
  add ebx, 0x1000
  test ebx, 0x4000
  jz .next
  add ebx, 0x400000-0x4000
  cmp ebx, 0x1400000
  jb .next
  RING0
  mov ebx, V(0)
.next0:
  LOG "page", ebx
  TRY mov eax, [ebx]
  TRY mov [ebx+4], eax
  add ebx, 0x1000
  test ebx, 0x4000
  jz .next0
  WP 1
  add ebx, 0x400000-0x4000
  cmp ebx, 0x1400000
  jb .next0
END
