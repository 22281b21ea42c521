; Instructions that real mode does not have are #UD.
%include "rom.inc"
ROM
  TRY sldt ax
  TRY str ax
  TRY lldt ax
  TRY ltr ax
  TRY verr ax
  TRY verw ax
  TRY lar ax, bx
  TRY lsl ax, bx
  TRY arpl ax, bx
  smsw ax
  and ax, 0xF
  LOG16 "msw", ax
END
