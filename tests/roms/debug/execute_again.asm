; Without RF the breakpoint's fault comes again; RF is 0 in its frame.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  GATE_LABEL IDT+8, CODE32, handler, 0x8E
  xor ebx, ebx
  BREAK 0, BASE+here, EXECUTE
here:
  nop
  LOG "ebx", ebx
  jmp done
handler:
  mov ebp, esp
  inc ebx
  LOG "flags", [ebp+8]
  cmp ebx, 3
  jb .return
  BREAKS_OFF
.return:
  iretd
done:
END
