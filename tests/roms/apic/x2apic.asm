; x2APIC: registers as MSRs, self IPI, reserved bits, and no way back but through off.
%include "rom.inc"
%include "apic.inc"
ROM
PM32
  APIC_ON
  mov ecx, 0x1B
  rdmsr
  or eax, 0x400
  wrmsr
  mov ecx, 0x802
  rdmsr
  LOG "id", eax
  mov ecx, 0x80F
  rdmsr
  LOG "svr", eax
  mov ecx, 0x80D
  rdmsr
  LOG "ldr", eax
  TRY wrmsr
  mov ecx, 0x80E
  TRY rdmsr
  mov ecx, 0x808
  mov eax, 0x100
  xor edx, edx
  TRY wrmsr
  mov eax, 0x30
  TRY wrmsr
  TRY rdmsr
  LOG "tpr", eax
  mov ecx, 0x80B
  TRY rdmsr
  mov eax, 1
  TRY wrmsr
  mov ecx, 0x83F
  TRY rdmsr
  GATE_LABEL IDT+0x41*8, CODE32, inside, 0x8E
  mov eax, 0x41
  xor edx, edx
  TRY wrmsr
  sti
  nop
  nop
  cli
  mov ecx, 0x830
  mov eax, SELF | 0x41
  TRY wrmsr
  sti
  nop
  nop
  cli
  mov ecx, 0x828
  mov eax, 1
  xor edx, edx
  TRY wrmsr
  mov ecx, 0x1B
  rdmsr
  and eax, ~0x400
  TRY wrmsr
  jmp done
inside:
  push eax
  push ecx
  push edx
  PRINT {"inside", 10}
  mov ecx, 0x812
  rdmsr
  LOG "isr", eax
  mov ecx, 0x80B
  xor eax, eax
  xor edx, edx
  wrmsr
  pop edx
  pop ecx
  pop eax
  iretd
done:
END
