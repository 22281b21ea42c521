; RF from IRET lasts for one instruction; a repeated one keeps it; exceptions push it set, traps clear.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  mov dword [DBOR], 0
  GATE_LABEL IDT+0x41*8, CODE32, handler, 0x8E
  BREAK 0, BASE+.a, EXECUTE
  push dword 0x10002
  push dword CODE32
  push dword .a
  iretd
.a:
  nop
  BREAK 0, BASE+.b, EXECUTE
  mov edi, DATA
  mov ecx, 4
  push dword 0x10002
  push dword CODE32
  push dword .b
  iretd
.b:
  rep stosb
  BREAKS_OFF
  push dword 0x10002
  push dword CODE32
  push dword .c
  iretd
.c:
  int 0x41
  LOG "flags of int", [DATA]
  push dword 0x10002
  push dword CODE32
  push dword .d
  iretd
.d:
  pushfd
  pop ebx
  LOG "pushfd", ebx
  jmp done
handler:
  mov eax, [esp+8]
  mov [DATA], eax
  iretd
done:
END
