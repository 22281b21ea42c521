; A task gate for an exception whose task has no room for the error code: #SS in that task.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS2, 0x67, 0x0089
  GDTDESC FREE+8, 0, 0xFFF, 0x4093
  GDTDESC FREE+24, TSS3, 0x67, 0x0089
  GATE IDT+13*8, FREE, 0, 0x85, 0
  GATE IDT+12*8, FREE+24, 0, 0x85, 0
  GATE IDT+8*8, FREE+24, 0, 0x85, 0
%macro TASK 4             ; TSS, EIP, SS, ESP
  mov dword [%1+0x20], %2
  mov dword [%1+0x24], 2
  mov dword [%1+0x38], %4
  mov dword [%1+0x48], FLAT
  mov dword [%1+0x4C], CODE32
  mov dword [%1+0x50], %3
  mov dword [%1+0x54], FLAT
  mov dword [%1+0x5C], FLAT
%endmacro
  TASK TSS2, .never, FREE+8, 0x1002
  TASK TSS3, .handler, FLAT, STACK_B
  mov ax, 0x3F8
  mov es, ax
.never:
  PRINT {"never", 10}
  jmp .end
.handler:
  mov ebp, esp
  LOG "error", [ebp]
  LOG16 "link", [TSS3]
  LOG "eip", [TSS2+0x20]
  LOG "esp", [TSS2+0x38]
.end:
END
