; IRETD into virtual-8086 mode checks EIP against 64 KiB, before anything changes.
%include "rom.inc"
ROM
PM32
  push dword 0
  push dword 0
  push dword 0
  push dword 0
  push dword 0
  push dword STACK3
  push dword 0x23002
  push dword 0xF000
  push dword 0x10000
  TRY iretd
  mov esp, STACK0
END
