; Reset leaves the APIC disabled by software with all entries masked; disabling masks them again.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  LOG "svr", [APIC+SVR]
  LOG "timer", [APIC+LVT_TIMER]
  LOG "error", [APIC+LVT_ERROR]
  LOG "lint1", [APIC+LINT1]
  LOG "tpr", [APIC+TPR]
  LOG "ldr", [APIC+LDR]
  LOG "dfr", [APIC+DFR]
  LOG "divide", [APIC+DIVIDE]
  LOG "initial", [APIC+INITIAL]
  LOG "current", [APIC+CURRENT]
  LOG "icr", [APIC+ICR]
  APIC_WRITE LVT_TIMER, 0x41
  LOG "unmasking", [APIC+LVT_TIMER]
  APIC_ON
  APIC_WRITE LVT_TIMER, 0x41
  APIC_WRITE LVT_ERROR, 0x62
  LOG "timer", [APIC+LVT_TIMER]
  LOG "error", [APIC+LVT_ERROR]
  APIC_WRITE SVR, 0xFF
  LOG "timer", [APIC+LVT_TIMER]
  LOG "error", [APIC+LVT_ERROR]
  APIC_WRITE SVR, 0x1FF
  LOG "timer", [APIC+LVT_TIMER]
END
