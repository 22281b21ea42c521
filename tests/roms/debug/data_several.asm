; Two breakpoints hit by one instruction: both in DR6, which keeps what was there.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  BREAK 0, DATA, WRITE4
  BREAK 3, DATA+2, RW1
  mov dword [DATA], 1
  mov al, [DATA+2]
  mov eax, 0xFFFF4FF4
  mov dr6, eax
  mov [DATA], al
  BREAKS_OFF
END
