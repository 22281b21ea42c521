; CR4.UMIP: SGDT, SIDT, SLDT, STR and SMSW are for ring 0.
; bochs: cpu=corei7_icelake_u
%include "rom.inc"
%include "paging.inc"
ROM
PM32
  RING3
  TRY sgdt [DATA]
  TRY sidt [DATA]
  TRY sldt ax
  TRY str ax
  TRY smsw ax
  RING0
  CR4_SET 0x800
  TRY sgdt [DATA]
  TRY sidt [DATA]
  TRY sldt ax
  TRY str ax
  TRY smsw ax
  RING3
  TRY sgdt [DATA]
  TRY sidt [DATA]
  TRY sldt ax
  TRY str ax
  TRY smsw ax
  RING0
END
