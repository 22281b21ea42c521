; PUSHF pushes TF as it is; what it pushes has neither RF nor VM.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  STEP_ON
  pushfd
  pop ebx
  STEP_OFF
  and ebx, 0x33300
  LOG "pushed", ebx
  push dword 0x10002
  popfd
  pushfd
  pop ebx
  LOG "RF cannot be popped", ebx
END
