; Gates that long mode does not have, and bad 64-bit gates.
%include "rom.inc"
ROM
PM32
  LONG64
  lea rax, [rel done]
  mov [GDT+FREE], ax
  mov word [GDT+FREE+2], CODE32
  mov word [GDT+FREE+4], 0x8C00
  shr rax, 16
  mov [GDT+FREE+6], ax
  mov dword [GDT+FREE+12], 0
  mov word [DATA+4], FREE
  TRY call far dword [DATA]
  mov word [GDT+FREE+2], CODE64
  mov dword [GDT+FREE+12], 0x100
  TRY call far dword [DATA]
  mov dword [GDT+FREE+12], 0
  mov dword [GDT+FREE+8], 0x8000
  TRY call far dword [DATA]
  mov byte [GDT+FREE+5], 0x84
  TRY call far dword [DATA]
  mov byte [GDT+FREE+5], 0x85
  TRY call far dword [DATA]
  mov word [DATA+4], MAINTSS
  TRY jmp far dword [DATA]
  mov word [DATA+4], 0
  TRY jmp far dword [DATA]
done:
END
