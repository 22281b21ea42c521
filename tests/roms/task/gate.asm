; Through a task gate: by JMP, CALL, INT n, and an exception with an error code.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS2, 0x67, 0x0089
  GATE GDT+FREE+8, FREE, 0, 0x85, 0
  GATE IDT+0x20*8, FREE, 0, 0x85, 0
  GATE IDT+13*8, FREE, 0, 0x85, 0
  mov dword [TSS2+0x20], task
  mov dword [TSS2+0x24], 0x02
  mov dword [TSS2+0x38], STACK_B
  mov dword [TSS2+0x48], FLAT
  mov dword [TSS2+0x4C], CODE32
  mov dword [TSS2+0x50], FLAT
  mov dword [TSS2+0x54], FLAT
  mov dword [TSS2+0x5C], FLAT
  call FREE+8:0
  PRINT {"call", 10}
  int 0x20
  PRINT {"int", 10}
  mov dword [TSS2+0x20], fault_task
  mov dword [TSS2+0x38], STACK_B
  mov ax, 0x3F8
faulting:
  mov es, ax
  PRINT {"resumed", 10}
  jmp done
task:
  PRINT {"task", 10}
  LOG "eip", [TSS+0x20]
  iretd
  jmp task
fault_task:
  mov ebp, esp
  LOG "error", [ebp]
  LOG "esp", ebp
  LOG "eip", [TSS+0x20]
  LOG "eflags", [TSS+0x24]
  mov dword [TSS+0x28], FLAT
  add esp, 4
  iretd
done:
END
