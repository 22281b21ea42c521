; A task whose EFLAGS has VM set starts in virtual-8086 mode.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS2, 0x67, 0x0089
  mov dword [TSS2+4], STACK0
  mov dword [TSS2+8], FLAT
  mov dword [TSS2+0x20], task
  mov dword [TSS2+0x24], 0x23002
  mov dword [TSS2+0x38], 0x9000
  mov dword [TSS2+0x48], 0x1111
  mov dword [TSS2+0x4C], 0xF000
  mov dword [TSS2+0x50], 0
  mov dword [TSS2+0x54], 0x2222
  mov dword [TSS2+0x58], 0x3333
  mov dword [TSS2+0x5C], 0
  jmp FREE:0
  bits 16
task:
  LOG16 "es", es
  LOG16 "ds", ds
  LOG16 "fs", fs
  LOG16 "ss", ss
  LOG "esp", esp
  mov ax, 0xB00
  mov ds, ax
  mov dword [0], 0x4321
  LOG "data", [gs:DATA]
END
