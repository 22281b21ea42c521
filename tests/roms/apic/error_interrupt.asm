; The error entry of the local vector table: an interrupt when an error is recorded.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  GATE_LABEL IDT+0x62*8, CODE32, noted, 0x8E
  mov dword [SCRATCH], 0
  APIC_WRITE LVT_ERROR, 0x62
  LOG "entry", [APIC+LVT_ERROR]
  APIC_WRITE ESR, 0
  sti
  APIC_WRITE ICR, SELF | 0x05
  nop
  nop
  cli
  LOG "interrupts", [SCRATCH]
  APIC_WRITE ESR, 0
  mov eax, [APIC+ESR]
  and eax, 0x20
  LOG "esr", eax
  APIC_WRITE LVT_ERROR, 0x10062
  sti
  APIC_WRITE ICR, SELF | 0x05
  nop
  nop
  cli
  LOG "interrupts", [SCRATCH]
  jmp done
noted:
  inc dword [SCRATCH]
  APIC_WRITE EOI, 0
  iretd
done:
END
