; The timer counts down once; masked it counts without an interrupt; 0 stops it.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  APIC_WRITE DIVIDE, 0xB
  APIC_WRITE LVT_TIMER, 0x41
  APIC_WRITE INITIAL, 2000
  GATE_LABEL IDT+0x41*8, CODE32, ticked, 0x8E
  sti
  hlt
  cli
  LOG "current", [APIC+CURRENT]
  LOG "initial", [APIC+INITIAL]
  APIC_WRITE LVT_TIMER, 0x10041
  APIC_WRITE INITIAL, 200
.wait:
  cmp dword [APIC+CURRENT], 0
  jne .wait
  LOG "irr", [APIC+IRR+0x20]
  LOG "timer", [APIC+LVT_TIMER]
  APIC_WRITE LVT_TIMER, 0x41
  sti
  nop
  nop
  cli
  APIC_WRITE INITIAL, 0x10000000
  APIC_WRITE INITIAL, 0
  LOG "stopped", [APIC+CURRENT]
  jmp done
ticked:
  PRINT {"tick", 10}
  APIC_WRITE EOI, 0
  iretd
done:
END
