; Breakpoints hit in ring 3 by data and code, and ports of a task's bitmap: the permission comes first.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  mov eax, 8
  mov cr4, eax
  mov word [TSS+0x66], 0x68
  mov byte [TSS+0x68+0x88/8], 1
  BREAK 0, DATA, WRITE4
  BREAK 1, BASE+.here, EXECUTE
  BREAK 2, 0x84, PORT1
  BREAK 3, 0x88, PORT1
  RING3
  mov [DATA], eax
  nop
.here:
  nop
  in al, 0x84
  TRY in al, 0x88
  nop
  RING0
  in al, 0x88
  BREAKS_OFF
END
