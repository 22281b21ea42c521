; Faults on the new task's segments are the new task's: its EIP, its registers; handled on its stack where it has one.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS2, 0x67, 0x0089
  GATE IDT+10*8, FREE+8, 0, 0x85, 0
  GATE IDT+11*8, FREE+8, 0, 0x85, 0
  GATE IDT+12*8, FREE+8, 0, 0x85, 0
  GATE IDT+13*8, FREE+8, 0, 0x85, 0
  GDTDESC FREE+8, TSS3, 0x67, 0x0089
  GDTDESC FREE+16, 0, 0xFFFF, 0x4013
  GDTDESC FREE+24, BASE, 0xFFFF, 0x401B
%macro CASE 5             ; name, CS, SS, DS, LDT
  call fill
  mov dword [TSS2+0x4C], %2
  mov dword [TSS2+0x50], %3
  mov dword [TSS2+0x54], %4
  mov dword [TSS2+0x60], %5
  PRINT {%1, 10}
  mov dword [DATA], %%next
  jmp FREE:0
%%next:
%endmacro
  CASE "cs null", 0, FLAT, FLAT, 0
  CASE "cs data", FLAT, FLAT, FLAT, 0
  CASE "cs absent", FREE+24, FLAT, FLAT, 0
  CASE "cs dpl", CODE3-3, FLAT, FLAT, 0
  CASE "ss null", CODE32, 0, FLAT, 0
  CASE "ss rpl", CODE32, FLAT3, FLAT, 0
  CASE "ss absent", CODE32, FREE+16, FLAT, 0
  CASE "ss code", CODE32, CODE32, FLAT, 0
  CASE "ds absent", CODE32, FLAT, FREE+16, 0
  CASE "ds limit", CODE32, FLAT, 0x3F8, 0
  CASE "ds system", CODE32, FLAT, MAINTSS, 0
  CASE "ldt type", CODE32, FLAT, FLAT, FLAT
  CASE "ldt table", CODE32, FLAT, FLAT, 4
  mov dword [eip_wanted], 0x10000
  CASE "eip", CODE32, FLAT, FLAT, 0
  jmp done
eip_wanted equ DATA+8
fill:
  mov eax, [eip_wanted]
  or eax, eax
  jnz .given
  mov eax, never
.given:
  mov [TSS2+0x20], eax
  mov dword [TSS2+0x24], 0x02
  mov dword [TSS2+0x28], 0x5555
  mov dword [TSS2+0x38], STACK_B
  mov dword [TSS2+0x48], FLAT
  mov dword [TSS2+0x58], 0
  mov dword [TSS2+0x5C], FLAT
  mov dword [TSS3+0x20], handler
  mov dword [TSS3+0x24], 0x02
  mov dword [TSS3+0x38], STACK_B+0x400
  mov dword [TSS3+0x48], FLAT
  mov dword [TSS3+0x4C], CODE32
  mov dword [TSS3+0x50], FLAT
  mov dword [TSS3+0x54], FLAT
  mov dword [TSS3+0x58], 0
  mov dword [TSS3+0x5C], FLAT
  mov byte [GDT+FREE+5], 0x89
  mov byte [GDT+FREE+8+5], 0x89
  mov byte [GDT+MAINTSS+5], 0x8B
  ret
handler:
  mov ebp, esp
  LOG "error", [ebp]
  LOG16 "link", [TSS3]
  LOG "eip", [TSS2+0x20]
  LOG "eax", [TSS2+0x28]
  LOG16 "cs", [TSS2+0x4C]
  clts
  ; Forget the tasks and go on as the first.
  mov byte [GDT+MAINTSS+5], 0x89
  mov ax, MAINTSS
  ltr ax
  mov esp, STACK0
  push dword 2
  popfd
  jmp [DATA]
never:
  PRINT {"never", 10}
done:
END
