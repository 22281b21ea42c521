; NMI through a task gate: IRET of the task unmasks it.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_WRITE SVR, 0x1FF
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
  GATE IDT+2*8, FREE, 0, 0x85, 0
  NMI
  nop
  PRINT {"back", 10}
  NMI
  nop
  PRINT {"back", 10}
  jmp done
task:
  PRINT {"task", 10}
  NMI
  nop
  PRINT {"masked", 10}
  cmp byte [DATA], 1
  mov byte [DATA], 1
  iretd
  cmp dword [DATA+4], 3
  inc dword [DATA+4]
  jae .stop
  PRINT {"again", 10}
  iretd
.stop:
  PRINT {"too often", 10}
done:
END
