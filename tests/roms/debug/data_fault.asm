; An instruction that faults does not trap for the data it would have touched.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  GDTDESC FREE, 0, DATA+1, 0x4093
  mov ax, FREE
  mov es, ax
  BREAK 0, DATA, RW4
  TRY mov [es:DATA], eax
  TRY mov [es:DATA], al
  xor ecx, ecx
  mov edx, 1
  TRY div dword [DATA+4]
  mov dword [DATA], 0
  EXPECT .a
  div dword [DATA]
.a:
  BREAKS_OFF
END
