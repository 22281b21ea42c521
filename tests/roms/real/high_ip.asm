; IP does not wrap at the end of a segment: what goes beyond FFFFH is #GP, at the instruction's own address.
%include "rom.inc"
ROM
  mov word [gs:13*4], caught
  mov ax, 0x2000
  mov es, ax
  mov byte [es:0xFFFF], 0x90
  mov word [es:0xFFFD], 0x9090
  mov bp, after
  jmp 0x2000:0xFFFD
after:
  mov word [es:0xFFFE], 0x00B8
  mov bp, after2
  jmp 0x2000:0xFFFE
caught:
  mov bx, sp
  LOG16 "ip", [ss:bx]
  LOG16 "cs", [ss:bx+2]
  add sp, 6
  jmp bp
after2:
END
