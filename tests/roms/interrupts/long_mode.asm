; An interrupt in 64-bit mode: SS and RSP always, the stack aligned to 16 bytes.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_WRITE SVR, 0x1FF
  LONG64
  mov dword [abs PAGES+0x1018], 0xC0000087
  mov rbx, APIC
  lea rax, [rel inside]
  mov [abs IDT+0x41*16], ax
  mov word [abs IDT+0x41*16+2], CODE64
  mov word [abs IDT+0x41*16+4], 0x8E00
  mov word [abs IDT+0x41*16+6], BASE >> 16
  mov dword [abs IDT+0x41*16+8], 0
  mov dword [rbx+ICR], SELF | 0x41
  sub rsp, 3
  sti
  nop
  nop
  add rsp, 3
  cli
  mov dword [rbx+ICR], SELF | 0x41
  sti
  hlt
  cli
  jmp done
inside:
  mov rbp, rsp
  and rsp, ~15
  LOG "rip", [rbp]
  LOG "cs", [rbp+8]
  LOG "rflags", [rbp+16]
  LOG "rsp", [rbp+24]
  LOG "ss", [rbp+32]
  LOG "at", rbp
  mov dword [rbx+EOI], 0
  mov rsp, rbp
  iretq
done:
END
