; Any IRET unmasks NMI, also that of an interrupt taken inside the handler; INT 2 masks nothing.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_WRITE SVR, 0x1FF
  GATE_LABEL IDT+2*8, CODE32, handler, 0x8E
  GATE_LABEL IDT+0x44*8, CODE32, nested, 0x8E
  xor ebx, ebx
  NMI
  nop
  nop
  LOG "taken", ebx
  GATE_LABEL IDT+2*8, CODE32, second, 0x8E
  int 2
  jmp done
second:
  inc ebx
  LOG "second", ebx
  cmp ebx, 3
  jne .out
  NMI
  nop
  nop
  PRINT {"inside INT 2", 10}
.out:
  iretd
handler:
  inc ebx
  LOG "enter", ebx
  cmp ebx, 2
  je .out
  NMI
  nop
  PRINT {"masked", 10}
  int 0x44
  nop
  PRINT {"behind the nested IRET", 10}
.out:
  LOG "leave", ebx
  iretd
nested:
  PRINT {"nested", 10}
  iretd
done:
END
