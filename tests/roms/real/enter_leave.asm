; ENTER with levels and LEAVE on a 16-bit stack.
%include "rom.inc"
ROM
  mov bp, 0x7000
  mov word [0x6FFE], 0xAAAA
  mov word [0x6FFC], 0xBBBB
  enter 0x10, 3
  LOG16 "bp", bp
  LOG16 "sp", sp
  LOG16 "copy1", [bp-2]
  LOG16 "copy2", [bp-4]
  LOG16 "frame", [bp-6]
  leave
  LOG16 "bp", bp
  LOG16 "sp", sp
  enter 4, 0
  LOG16 "sp", sp
  leave
END
