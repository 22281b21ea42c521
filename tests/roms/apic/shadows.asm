; Interrupts and the instructions that hold them back: STI and CLI in a row, MOV SS, POPF, STI twice.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  APIC_WRITE ICR, SELF | 0x41
  sti
  cli
  PRINT {"nothing yet", 10}
  sti
  sti
  nop
  cli
  APIC_WRITE ICR, SELF | 0x62
  pushfd
  or dword [esp], 0x200
  popfd
  nop
  nop
  mov ax, ss
  cli
  APIC_WRITE ICR, SELF | 0x72
  sti
  mov ss, ax
  nop
  nop
  cli
  APIC_WRITE ICR, SELF | 0x41
  push dword 0x202
  push dword CODE32
  push dword .back
  iretd
.back:
  nop
  mov ax, ss
  APIC_WRITE ICR, SELF | 0x62
  cli
  APIC_WRITE ICR, SELF | 0x72
  sti
  hlt
  cli
END
