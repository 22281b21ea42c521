; IRETD in real mode: three doublewords; VM and IOPL come from the image, VM does not change.
%include "rom.inc"
ROM
  push dword 0x00243202
  push word 0
  push cs
  push dword there
  iretd
there:
  pushfd
  pop eax
  LOG "eflags", eax
  push dword 2
  popfd
  TRY db 0x66, 0x9D, 0x90
  mov esp, STACK0
END
