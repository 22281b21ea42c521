; A nested task: CALL sets NT and the link, IRET goes back and clears NT of the saved flags.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS2, 0x67, 0x0089
  mov dword [TSS2+0x20], task
  mov dword [TSS2+0x24], 0x02
  mov dword [TSS2+0x38], STACK_B
  mov dword [TSS2+0x48], FLAT
  mov dword [TSS2+0x4C], CODE32
  mov dword [TSS2+0x50], FLAT
  mov dword [TSS2+0x54], FLAT
  mov dword [TSS2+0x5C], FLAT
  call FREE:0
  LOGFLAGS "flags", 0x40D5
  LOG "main tss", [GDT+MAINTSS+4]
  LOG "task tss", [GDT+FREE+4]
  LOG "task flags", [TSS2+0x24]
  LOG "task eip", [TSS2+0x20]
  mov dword [TSS2+0x20], task2
  call FREE:0
  LOG "again", [TSS2+0x20]
  jmp done
task:
  LOGFLAGS "nt", 0x4000
  LOG "link", [TSS2]
  LOG "main tss", [GDT+MAINTSS+4]
  LOG "task tss", [GDT+FREE+4]
  iretd
task2:
  PRINT {"second", 10}
  iretd
done:
END
