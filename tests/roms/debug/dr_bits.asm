; Which bits DR6 and DR7 have; DR0 to DR3 keep everything.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  mov eax, -1
  mov dr6, eax
  mov eax, dr6
  and eax, ~0x10800
  LOG "dr6", eax
  xor eax, eax
  mov dr6, eax
  mov eax, dr6
  LOG "dr6", eax
  mov eax, 0xFFFF0000
  mov dr7, eax
  mov eax, dr7
  LOG "dr7", eax
  mov eax, 0x0000D7FF & ~0x800 & ~0xFF
  mov dr7, eax
  mov eax, dr7
  LOG "dr7", eax
  xor eax, eax
  mov dr7, eax
  mov eax, dr7
  LOG "dr7", eax
  mov eax, 0x12345679
  mov dr0, eax
  inc eax
  mov dr1, eax
  inc eax
  mov dr2, eax
  inc eax
  mov dr3, eax
  mov eax, dr0
  LOG "dr0", eax
  mov eax, dr1
  LOG "dr1", eax
  mov eax, dr2
  LOG "dr2", eax
  mov eax, dr3
  LOG "dr3", eax
END
