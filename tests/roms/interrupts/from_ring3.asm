; An interrupt from ring 3: the stack of ring 0, the old one in the frame; a trap gate leaves IF on.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  GATE_LABEL IDT+0x41*8, CODE32, inside, 0x8F
  APIC_WRITE ICR, SELF | 0x41
  push dword FLAT3
  push dword STACK3
  push dword 0x202
  push dword CODE3
  push dword .in
  iretd
.in:
  nop
  mov ax, FLAT3
  mov ds, ax
  mov es, ax
  mov gs, ax
  PRINT {"back in ring 3", 10}
  RING0
  jmp done
inside:
  mov ebp, esp
  mov ax, FLAT
  mov gs, ax
  mov ds, ax
  LOG "eip", [ebp]
  LOG16 "cs", [ebp+4]
  LOG "eflags", [ebp+8]
  LOG "esp", [ebp+12]
  LOG16 "ss", [ebp+16]
  LOG "at", ebp
  LOGFLAGS "now", 0x200
  APIC_WRITE EOI, 0
  iretd
done:
END
