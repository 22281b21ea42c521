; The timer in periodic mode starts again by itself.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  GATE_LABEL IDT+0x41*8, CODE32, ticked, 0x8E
  APIC_WRITE DIVIDE, 0
  APIC_WRITE LVT_TIMER, 0x20041
  APIC_WRITE INITIAL, 20000
  xor ebx, ebx
.next:
  sti
  hlt
  cli
  cmp ebx, 3
  jb .next
  APIC_WRITE LVT_TIMER, 0x10041
  LOG "ticks", ebx
  LOG "initial", [APIC+INITIAL]
  jmp done
ticked:
  inc ebx
  APIC_WRITE EOI, 0
  iretd
done:
END
