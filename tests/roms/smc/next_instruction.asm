; An instruction that changes the next one.
%include "rom.inc"
%include "smc.inc"
ROM
PM32
  COPY code
  call FREE:DATA
  LOG "eax", eax
  call FREE:DATA
  LOG "eax", eax
  jmp done
code:
  add byte [DATA+.next-code+1], 5
.next:
  mov al, 1
  movzx eax, al
  retf
done:
END
