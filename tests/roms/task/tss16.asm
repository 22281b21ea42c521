; A 16-bit task: words of state; back with IRET.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS2, 0x2B, 0x0081
  mov word [TSS2+0x0E], task
  mov word [TSS2+0x10], 0x0002
  mov word [TSS2+0x12], 0x1111
  mov word [TSS2+0x1A], 0xA000
  mov word [TSS2+0x22], DATA16
  mov word [TSS2+0x24], CODE16
  mov word [TSS2+0x26], DATA16
  mov word [TSS2+0x28], DATA16
  mov word [TSS2+0x2A], 0
  mov eax, 0x55667788
  call FREE:0
  LOG16 "ax", ax
  LOG16 "saved ip", [TSS2+0x0E]
  LOG16 "saved ax", [TSS2+0x12]
  LOG16 "saved sp", [TSS2+0x1A]
  LOG16 "saved es", [TSS2+0x22]
  LOG "descriptor", [GDT+FREE+4]
  jmp done
  bits 16
task:
  mov [0xB000], fs
  mov [0xB002], gs
  mov bx, FLAT
  mov gs, bx
  LOG16 "ax", ax
  LOG16 "sp", sp
  LOG16 "fs", [0xB000]
  LOG16 "link", [TSS2]
  mov ax, 0x2222
  iret
  bits 32
done:
END
