; A task switch by JMP to a 32-bit TSS and back: registers, busy bits, TS, the saved state.
%include "rom.inc"
ROM
PM32
  call make_task
  mov eax, 0x11111111
  mov ebx, 0x22222222
  push dword 0x46
  popfd
  jmp FREE:0
back:
  LOG "eax", eax
  LOG "ebx", ebx
  LOGFLAGS "flags", 0x40D5
  LOG "esp", esp
  str ax
  LOG16 "tr", ax
  LOG "main tss", [GDT+MAINTSS+4]
  LOG "task tss", [GDT+FREE+4]
  smsw ax
  LOG16 "msw", ax
  clts
  jmp done
task:
  LOG "task eax", eax
  LOG "task ebp", ebp
  str ax
  LOG16 "task tr", ax
  LOGFLAGS "task flags", 0x40D5
  LOG "saved eip", [TSS+0x20]
  LOG "saved flags", [TSS+0x24]
  LOG "saved eax", [TSS+0x28]
  LOG "saved esp", [TSS+0x38]
  LOG "saved cs", [TSS+0x4C]
  LOG "link", [TSS2]
  LOG "main tss", [GDT+MAINTSS+4]
  LOG "task tss", [GDT+FREE+4]
  jmp MAINTSS:0
make_task:
  GDTDESC FREE, TSS2, 0x67, 0x0089
  mov dword [TSS2+0x20], task
  mov dword [TSS2+0x24], 0x93
  mov dword [TSS2+0x28], 0xAAAA5555
  mov dword [TSS2+0x38], STACK_B
  mov dword [TSS2+0x3C], 0x0BBBBBB0
  mov dword [TSS2+0x48], FLAT
  mov dword [TSS2+0x4C], CODE32
  mov dword [TSS2+0x50], FLAT
  mov dword [TSS2+0x54], FLAT
  mov dword [TSS2+0x58], 0
  mov dword [TSS2+0x5C], FLAT
  ret
done:
END
