; An interrupt handler changes the instruction it returns to.
%include "rom.inc"
%include "smc.inc"
ROM
PM32
  COPY code
  GATE_LABEL IDT+0x41*8, CODE32, handler, 0x8E
  call FREE:DATA
  LOG "eax", eax
  jmp done
handler:
  mov edx, [esp]
  mov dword [edx+1], 0x5555
  iretd
code:
  int 0x41
  mov eax, 0x12345678
  retf
done:
END
