; What reset leaves in the registers.
%include "rom.inc"
  cpu x64
  bits 16
  org 0
rom_start:
  mov esp, 0x7000
  pushad
  pushfd
  mov [gs:0x600], cs
  mov [gs:0x602], ds
  mov [gs:0x604], es
  mov [gs:0x606], ss
  mov [gs:0x608], fs
  mov [gs:0x60A], gs
  o32 sgdt [gs:0x610]
  o32 sidt [gs:0x618]
  fnstcw [gs:0x620]
  fnstsw [gs:0x622]
  call real_setup
  LOG "edi", [gs:0x7000-32]
  LOG "esi", [gs:0x7000-28]
  LOG "ebp", [gs:0x7000-24]
  LOG "ebx", [gs:0x7000-16]
  mov eax, [gs:0x7000-12]
  and eax, 0x00000F00
  LOG "edx: family", eax
  LOG "ecx", [gs:0x7000-8]
  LOG "eax", [gs:0x7000-4]
  LOG "eflags", [gs:0x7000-36]
  LOG16 "cs", [gs:0x600]
  LOG16 "ds", [gs:0x602]
  LOG16 "es", [gs:0x604]
  LOG16 "ss", [gs:0x606]
  LOG16 "fs", [gs:0x608]
  LOG16 "gs", [gs:0x60A]
  LOG16 "gdtr limit", [gs:0x610]
  LOG "gdtr base", [gs:0x612]
  LOG16 "idtr limit", [gs:0x618]
  LOG "idtr base", [gs:0x61A]
  LOG16 "fcw", [gs:0x620]
  LOG16 "fsw", [gs:0x622]
END
