; To ring 3 by IRETD and back by INT through the TSS's stack.
%include "rom.inc"
ROM
PM32
  LOG16 "cs", cs
  RING3
  LOG16 "cs3", cs
  LOG16 "ss3", ss
  LOG "esp3", esp
  TRY cli
  TRY hlt
  TRY mov eax, cr0
  RING0
  LOG16 "cs", cs
  LOG16 "ss", ss
  LOG "esp", esp
  V86 0x3000
  LOG16 "v86 cs", cs
  LOG "v86 esp", esp
  V86_END
  LOG16 "cs", cs
  LONG64
  LOG16 "cs64", cs
  TRY ud2
  TRY mov rax, [qword 0x8000000000000000]
END
