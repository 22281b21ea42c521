; DR4 and DR5 mean DR6 and DR7 until CR4.DE makes them undefined.
%include "rom.inc"
ROM
PM32
  mov eax, 0xFFFF4FF0
  mov dr6, eax
  TRY db 0x0F, 0x21, 0xE0
  LOG "dr4", eax
  TRY db 0x0F, 0x21, 0xE8
  LOG "dr5", eax
  mov eax, 0x00030400
  TRY db 0x0F, 0x23, 0xE8
  mov eax, dr7
  LOG "dr7", eax
  mov eax, 8
  mov cr4, eax
  TRY db 0x0F, 0x21, 0xE0
  TRY db 0x0F, 0x23, 0xE8
  RING3
  TRY db 0x0F, 0x21, 0xE0
  TRY mov eax, dr6
  TRY mov dr7, eax
  TRY mov eax, dr0
END
