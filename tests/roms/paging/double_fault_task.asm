; A page fault on the stack of ring 0 is a double fault; a task gate for it has a stack of its own.
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  PAGES32 7
  GDTDESC FREE, TSS2, 0x67, 0x0089
  mov dword [TSS2+0x1C], PAGES
  mov dword [TSS2+0x20], task
  mov dword [TSS2+0x24], 0x02
  mov dword [TSS2+0x38], STACK_B
  mov dword [TSS2+0x48], FLAT
  mov dword [TSS2+0x4C], CODE32
  mov dword [TSS2+0x50], FLAT
  mov dword [TSS2+0x54], FLAT
  mov dword [TSS2+0x58], FLAT
  mov dword [TSS2+0x5C], FLAT
  GATE IDT+8*8, FREE, 0, 0x85, 0
  PTE 1, 0
  PAGING_ON
  mov dword [TSS+0x1C], PAGES
  mov eax, 0x1234
  mov esp, V(1)+0x800
  push eax
  jmp done
task:
  pop ebx
  LOG "error code", ebx
  mov ebx, cr2
  LOG "cr2", ebx
  LOG "eip", [TSS+0x20]
  LOG "esp", [TSS+0x38]
  LOG "eax", [TSS+0x28]
  LOG "eflags", [TSS+0x24]
done:
END
