; NMI comes whatever IF is; another one waits for IRET.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_WRITE SVR, 0x1FF
  GATE_LABEL IDT+2*8, CODE32, handler, 0x8E
  xor ebx, ebx
  cli
  NMI
  nop
  nop
  LOG "taken", ebx
  jmp done
handler:
  push ebp
  mov ebp, esp
  inc ebx
  LOG "from", [ebp+4]
  cmp ebx, 3
  jae .out
  NMI
  NMI
  nop
  nop
  PRINT {"still inside", 10}
.out:
  pop ebp
  iretd
done:
END
