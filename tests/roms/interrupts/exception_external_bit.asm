; An exception whose gate is bad: EXT is set in the second one's error code; INT3 and INTO count as software.
%include "rom.inc"
ROM
PM32
  mov byte [IDT+6*8+5], 0x0E
  TRY ud2
  mov byte [IDT+3*8+5], 0x6E
  EXPECT .a
  int3
.a:
  mov byte [IDT+4*8+5], 0x6E
  mov al, 0x7F
  add al, 1
  EXPECT .b
  into
.b:
  mov byte [IDT+1*8+5], 0x0E
  EXPECT .c
  db 0xF1
.c:
  mov byte [IDT+5*8+5], 0x0E
  mov dword [DATA], 5
  mov dword [DATA+4], 6
  mov eax, 9
  TRY bound eax, [DATA]
END
