; Instructions of protected mode are #UD in virtual-8086 mode; privileged ones #GP(0).
%include "rom.inc"
ROM
PM32
  V86 0x3000
  TRY sldt ax
  TRY str ax
  TRY lldt ax
  TRY ltr ax
  TRY lar ax, bx
  TRY lsl ax, bx
  TRY verr ax
  TRY verw ax
  TRY arpl ax, bx
  TRY lgdt [0]
  TRY lmsw ax
  TRY clts
  TRY mov eax, cr0
  TRY mov dr0, eax
  TRY rdmsr
  TRY invlpg [0]
  smsw ax
  and ax, 1
  LOG16 "smsw", ax
END
