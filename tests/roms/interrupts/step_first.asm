; A single-step trap comes before an interrupt that is due at the same boundary.
%include "rom.inc"
%include "apic.inc"
%include "debug.inc"
ROM
PM32
  APIC_ON
  GATE_LABEL IDT+8, CODE32, stepped, 0x8E
  APIC_WRITE ICR, SELF | 0x41
  push dword 0x302
  popfd
  nop
  nop
  push dword 2
  popfd
  nop
  jmp done
stepped:
  push ebp
  mov ebp, esp
  LOG "step", [ebp+4]
  pop ebp
  iretd
done:
END
