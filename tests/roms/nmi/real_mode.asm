; NMI in real mode, with the frame of three words.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_WRITE SVR, 0x1FF
  jmp CODE16:.b16
  bits 16
.b16:
  mov ax, DATA16
  mov ss, ax
  mov ds, ax
  lidt [cs:ivt]
  mov eax, cr0
  and al, ~1
  mov cr0, eax
  jmp 0xF000:.real
.real:
  xor ax, ax
  mov ss, ax
  mov ds, ax
  mov sp, STACK0
  mov word [gs:2*4], handler
  mov word [gs:2*4+2], 0xF000
  mov dword [gs:APIC+ICR+0x10], 0
  mov dword [gs:APIC+ICR], 0x400
  nop
  jmp done
ivt:
  dw 0x3FF
  dd 0
handler:
  mov bp, sp
  LOG16 "ip", [bp]
  LOG16 "cs", [bp+2]
  LOG16 "fl", [bp+4]
  LOG16 "sp", sp
  iret
done:
END
