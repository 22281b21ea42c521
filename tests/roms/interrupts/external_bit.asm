; An interrupt from outside whose gate is bad: the error code has EXT, that of INT n has not.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  GATE_LABEL IDT+0x41*8, CODE32, nothing, 0x0E
  APIC_WRITE ICR, SELF | 0x41
  EXPECT .a
  sti
  nop
  nop
.a:
  cli
  APIC_WRITE EOI, 0
  TRY int 0x41
  GATE_LABEL IDT+0x41*8, FLAT, nothing, 0x8E
  APIC_WRITE ICR, SELF | 0x41
  EXPECT .b
  sti
  nop
  nop
.b:
  cli
  APIC_WRITE EOI, 0
  TRY int 0x41
  APIC_WRITE ICR, SELF | 0x91
  EXPECT .c
  sti
  nop
  nop
.c:
  cli
  APIC_WRITE EOI, 0
  TRY int 0x91
  GATE_LABEL IDT+0x41*8, 0, nothing, 0x8E
  APIC_WRITE ICR, SELF | 0x41
  EXPECT .d
  sti
  nop
  nop
.d:
  cli
  APIC_WRITE EOI, 0
  GATE_LABEL IDT+0x41*8, CODE32, nothing, 0x8C
  APIC_WRITE ICR, SELF | 0x41
  EXPECT .e
  sti
  nop
  nop
.e:
  cli
nothing:
END
