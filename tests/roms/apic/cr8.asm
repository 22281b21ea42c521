; CR8 is bits 7 to 4 of TPR, both ways.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_WRITE SVR, 0x1FF
  LONG64
  mov dword [abs PAGES+0x1018], 0xC0000087
  mov rbx, APIC
  mov eax, 0x5A
  mov [rbx+TPR], eax
  mov rax, cr8
  LOG "cr8", rax
  mov eax, 9
  mov cr8, rax
  mov eax, [rbx+TPR]
  LOG "tpr", rax
  mov eax, [rbx+PPR]
  LOG "ppr", rax
  mov eax, 16
  TRY mov cr8, rax
  mov rax, -1
  TRY mov cr8, rax
  mov rax, cr8
  LOG "cr8", rax
  ; A vector of class 9 waits, one of class A does not.
  lea rax, [rel inside]
  mov [abs IDT+0x9F*16], ax
  mov word [abs IDT+0x9F*16+2], CODE64
  mov word [abs IDT+0x9F*16+4], 0x8E00
  mov word [abs IDT+0x9F*16+6], BASE >> 16
  mov dword [rbx+ICR], SELF | 0x9F
  sti
  nop
  nop
  PRINT {"lower it", 10}
  mov eax, 8
  mov cr8, rax
  nop
  cli
  jmp done
inside:
  PRINT {"inside", 10}
  mov rax, cr8
  LOG "cr8", rax
  mov dword [rbx+EOI], 0
  iretq
done:
END
