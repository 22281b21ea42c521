; Below IOPL 3 the instructions that touch IF are #GP(0) in virtual-8086 mode.
%include "rom.inc"
ROM
PM32
  V86 0x0000
  TRY cli
  TRY sti
  TRY pushf
  TRY popf
  TRY int 0x10
  TRY iret
  TRY pushfd
  TRY o32 iret
  TRY int3
  mov al, 0x7F
  inc al
  TRY into
  TRY hlt
  TRY in al, 0x10
END
