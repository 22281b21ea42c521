; #NM by CR0.TS, EM, MP; #UD of SSE without CR4.OSFXSR; #MF and FERR by CR0.NE.
%include "rom.inc"
ROM
PM32
  mov eax, cr0
  and eax, ~0xE
  or eax, 0x20
  mov cr0, eax
  fninit
  mov eax, cr0
  or eax, 8
  mov cr0, eax
  TRY fnop
  TRY fwait
  or eax, 2
  mov cr0, eax
  TRY fwait
  and eax, ~8
  mov cr0, eax
  TRY fwait
  or eax, 4
  mov cr0, eax
  TRY fnop
  and eax, ~6
  mov cr0, eax
  TRY movaps xmm0, xmm1
  TRY addps xmm0, xmm1
  mov ebx, cr4
  or ebx, 0x200
  mov cr4, ebx
  TRY movaps xmm0, xmm1
  or eax, 8
  mov cr0, eax
  TRY movaps xmm0, xmm1
  TRY pxor mm0, mm1
  clts
  fninit
  push word 0x0340
  fldcw [esp]
  fldz
  fld1
  fdiv st0, st1
  TRY fwait
  fnclex
  TRY fwait
END
