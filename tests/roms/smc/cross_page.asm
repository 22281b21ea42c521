; An instruction across two pages, changed in the second one.
%include "rom.inc"
%include "smc.inc"
ROM
PM32
  COPY code
  mov esi, DATA
  mov edi, 0xC000-3
  mov ecx, 16
  rep movsb
  call FREE:0xC000-3
  LOG "eax", eax
  mov byte [0xC001], 0x77
  call FREE:0xC000-3
  LOG "eax", eax
  mov byte [0xBFFE], 0x66
  call FREE:0xC000-3
  LOG "eax", eax
  jmp done
code:
  mov eax, 0x12345678
  retf
done:
END
