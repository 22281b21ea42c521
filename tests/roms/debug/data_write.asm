; Breakpoints on writing: a trap behind the instruction; lengths 1, 2 and 4; every byte that overlaps counts.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 0, DATA, WRITE1
  mov byte [DATA], 1
  mov byte [DATA+1], 1
  mov eax, [DATA]
  mov dword [DATA-3], 2
  mov dword [DATA-4], 2
  mov word [DATA-1], 2
  BREAK 0, DATA+0x10, WRITE2
  mov byte [DATA+0x10], 1
  mov byte [DATA+0x11], 1
  mov byte [DATA+0x12], 1
  mov byte [DATA+0x0F], 1
  mov word [DATA+0x11], 1
  BREAK 0, DATA+0x20, WRITE4
  mov byte [DATA+0x23], 1
  mov byte [DATA+0x24], 1
  mov dword [DATA+0x1D], 1
  mov dword [DATA+0x1C], 1
  inc dword [DATA+0x20]
  BREAKS_OFF
  mov byte [DATA+0x20], 1
END
