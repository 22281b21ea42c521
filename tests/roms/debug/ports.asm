; Breakpoints on I/O ports: CR4.DE, a trap behind the instruction.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  mov eax, 8
  mov cr4, eax
  BREAK 0, 0x84, PORT1
  BREAK 1, 0x88, PORT4
  in al, 0x84
  out 0x84, al
  in al, 0x85
  in ax, 0x84
  in al, 0x8B
  in al, 0x8C
  mov dx, 0x8A
  out dx, ax
  mov edi, DATA
  mov dx, 0x84
  insb
  mov esi, DATA
  mov ecx, 2
  rep outsb
  mov al, [0x84]
  mov [0x88], eax
  BREAKS_OFF
END
