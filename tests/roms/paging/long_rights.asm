; Four levels: U/S, R/W and NX of every level count.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  LONG64
  NXE 1
  PAGES_LONG
  WP 1
  mov byte [F(0)], 0xC3
  ; V(0) through four maps of its own, each restricted at another level: entries 1 to 3 of the pointers.
  mov rsi, PD
  mov rdi, PAGES+0x4000
  mov ecx, 0x200
  rep movsq
  mov dword [PAGES+0x1008], PAGES+0x4007
  mov dword [PAGES+0x1010], PAGES+0x4005
  mov dword [PAGES+0x1018], PAGES+0x4003
  mov dword [PAGES+0x1020], PAGES+0x4007
  mov dword [PAGES+0x1024], 0x80000000
  mov dword [PAGES+0x08], PAGES+0x1005
  mov dword [PAGES+0x10], PAGES+0x1003
  mov dword [PAGES+0x18], PAGES+0x1007
  mov dword [PAGES+0x1C], 0x80000000
  FLUSH
  mov rbx, 0x40000000+V(0)
  call .all
  mov rbx, 0x80000000+V(0)
  call .all
  mov rbx, 0xC0000000+V(0)
  call .all
  mov rbx, 0x100000000+V(0)
  call .all
  mov rbx, 0x8000000000+V(0)
  call .all
  mov rbx, 0x10000000000+V(0)
  call .all
  mov rbx, 0x18000000000+V(0)
  call .all
  jmp .done
.all:
  pop r13
  LOG "at", rbx
  TRY mov eax, [rbx]
  TRY mov byte [rbx], 0xC3
  EXPECT .back
  call rbx
.back:
  RING3_64
  TRY mov eax, [rbx]
  TRY mov byte [rbx], 0xC3
  EXPECT .back3
  call rbx
.back3:
  RING0_64
  jmp r13
.done:
END
