; Linear addresses wrap at 4 GiB; offsets above the limit do not.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, 0xFFFF0000, 0xFFFFF, 0xC093
  mov ax, FREE
  mov es, ax
  mov dword [DATA], 0xFEEDBEEF
  TRY mov eax, [es:DATA+0x10000]
  LOG "wrapped", eax
  mov dword [0], 0x33221100
  GDTDESC FREE+8, 0xFFFFFFFF, 0xFFFFF, 0xC093
  mov ax, FREE+8
  mov fs, ax
  TRY mov eax, [fs:1]
  LOG "eax", eax
END
