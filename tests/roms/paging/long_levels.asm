; Four levels: where an entry is missing, the error codes are the same; A in all of them, D in the last.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  LONG64
  PAGES_LONG
  mov dword [F(0)], 0xABCD
  mov eax, [V(0)]
  LOG "read", rax
  LOG "level 4", [PAGES]
  LOG "level 3", [PAGES+0x1000]
  LOG "level 2", [PD+16]
  LOG "level 1", [PT1]
  mov [V(0)], eax
  LOG "level 1", [PT1]
  LOG "level 2", [PD+16]
  PTE 1, 6
  TRY mov eax, [V(1)]
  mov rbx, 0x40000000
  TRY mov eax, [rbx]
  mov rbx, 0x0000008000000000
  TRY mov [rbx], eax
  mov rbx, 0xFFFF800000000000
  TRY mov eax, [rbx]
  mov rbx, 0xFFFFFFFFFFFFFFFF
  TRY mov al, [rbx]
  RING3_64
  TRY mov eax, [V(1)]
  mov rbx, 0x0000008000000000
  TRY mov [rbx], eax
  mov rbx, 0x00007FFFFFFFFFFF
  TRY mov al, [rbx]
  RING0_64
END
