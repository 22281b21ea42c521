; The low bits of an address are ignored as the length asks.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 2, DATA+3, WRITE4
  mov byte [DATA], 0
  mov byte [DATA+3], 0
  mov byte [DATA+4], 0
  BREAK 2, DATA+0x11, WRITE2
  mov byte [DATA+0x10], 0
  mov byte [DATA+0x11], 0
  mov byte [DATA+0x12], 0
  mov eax, dr2
  BREAKS_OFF
  LOG "dr2", eax
END
