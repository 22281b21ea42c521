; POPF in ring 3: IOPL and IF stay, others change; with IOPL 3 IF changes, too.
%include "rom.inc"
ROM
PM32
  RING3
  push dword 0x3F7ED7
  popfd
  pushfd
  pop ebx
  and ebx, 0x3FFFFF
  push dword 2
  popfd
  LOG "all", ebx
  push word 0x7ED7
  popf
  pushfd
  pop ebx
  push dword 2
  popfd
  LOG "16 bits", ebx
  TRY sti
  TRY cli
  RING0
  push dword FLAT3
  push dword STACK3
  push dword 0x3002
  push dword CODE3
  push dword .in
  iretd
.in:
  mov ax, FLAT3
  mov ds, ax
  mov gs, ax
  TRY sti
  pushfd
  pop ebx
  TRY cli
  LOG "IOPL 3", ebx
  push dword 0x0202
  popfd
  pushfd
  pop ebx
  push dword 2
  popfd
  LOG "popfd", ebx
  RING0
END
