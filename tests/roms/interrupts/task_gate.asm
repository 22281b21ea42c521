; An interrupt through a task gate: NT and the back link, no error code; IRET returns and clears busy.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  GDTDESC FREE, TSS2, 0x67, 0x0089
  mov dword [TSS2+0x20], task
  mov dword [TSS2+0x24], 0x02
  mov dword [TSS2+0x38], STACK_B
  mov dword [TSS2+0x48], FLAT
  mov dword [TSS2+0x4C], CODE32
  mov dword [TSS2+0x50], FLAT
  mov dword [TSS2+0x54], FLAT
  mov dword [TSS2+0x58], FLAT
  mov dword [TSS2+0x5C], FLAT
  GATE IDT+0x41*8, FREE, 0, 0x85, 0
  APIC_WRITE ICR, SELF | 0x41
  sti
  nop
  nop
  cli
  PRINT {"back", 10}
  APIC_WRITE ICR, SELF | 0x41
  sti
  nop
  nop
  cli
  PRINT {"back", 10}
  LOG "descriptor", [GDT+FREE+4]
  jmp done
task:
  LOGFLAGS "flags", 0x4300
  LOG "esp", [TSS2+0x38]
  LOG16 "link", [TSS2]
  LOG "saved flags", [TSS+0x24]
  LOG "saved eip", [TSS+0x20]
  LOG "descriptor", [GDT+FREE+4]
  APIC_WRITE EOI, 0
  iretd
  jmp task
done:
END
