; What reset leaves in control and debug registers and in MSRs.
%include "rom.inc"
ROM
  LOG "cr0", cr0
  LOG "cr2", cr2
  LOG "cr3", cr3
  LOG "cr4", cr4
  mov ebx, dr6
  LOG "dr6", ebx
  mov ebx, dr7
  LOG "dr7", ebx
  mov ebx, dr0
  LOG "dr0", ebx
  mov ecx, 0xC0000080
  rdmsr
  LOG "efer", eax
  mov ecx, 0x174
  rdmsr
  LOG "sysenter cs", eax
  mov ecx, 0x1B
  rdmsr
  LOG "apic base", eax
  mov eax, 0x200
  mov cr4, eax
  stmxcsr [gs:0x600]
  LOG "mxcsr", [gs:0x600]
  movd eax, xmm0
  LOG "xmm0", eax
END
