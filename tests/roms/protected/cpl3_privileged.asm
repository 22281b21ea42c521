; Privileged instructions at ring 3 are #GP(0); IOPL lets CLI, STI and I/O through.
%include "rom.inc"
ROM
PM32
  RING3
  TRY hlt
  TRY lgdt [SCRATCH]
  TRY lidt [SCRATCH]
  TRY lldt ax
  TRY ltr ax
  TRY lmsw ax
  TRY clts
  TRY invlpg [SCRATCH]
  TRY invd
  TRY wbinvd
  TRY mov eax, cr3
  TRY mov cr0, eax
  TRY mov eax, dr7
  TRY mov dr0, eax
  TRY rdmsr
  TRY wrmsr
  TRY cli
  TRY sti
  smsw ax
  sgdt [SCRATCH]
  LOG16 "gdt limit", [SCRATCH]
END
