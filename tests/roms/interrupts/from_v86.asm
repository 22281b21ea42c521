; An interrupt out of virtual-8086 mode: nine words on the stack of ring 0, data segments null in the handler.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  GATE_LABEL IDT+0x41*8, CODE32, inside, 0x8E
  APIC_WRITE ICR, SELF | 0x41
  push dword 0x44
  push dword 0x33
  push dword 0x22
  push dword 0x11
  push dword 0
  push dword STACK3
  push dword 0x23202
  push dword 0xF000
  push dword .in
  iretd
  bits 16
.in:
  nop
  mov ax, 0
  mov gs, ax
  V86_END
  jmp done
inside:
  mov ebp, esp
  xor eax, eax
  mov ax, ds
  shl eax, 16
  mov ax, gs
  mov ebx, eax
  mov ax, FLAT
  mov gs, ax
  mov ds, ax
  LOG "ds gs", ebx
%assign i 0
%rep 9
  LOG "frame", [ebp+i*4]
%assign i i+1
%endrep
  LOG "at", ebp
  APIC_WRITE EOI, 0
  iretd
done:
END
