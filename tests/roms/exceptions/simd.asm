; Unmasked SSE exceptions: #XM with CR4.OSXMMEXCPT, #UD without.
%include "rom.inc"
ROM
PM32
  mov eax, cr4
  or eax, 0x200
  mov cr4, eax
  mov dword [DATA], 0x1D80
  ldmxcsr [DATA]
  mov dword [DATA+16], 0x3F800000
  xorps xmm0, xmm0
  movss xmm1, [DATA+16]
  TRY divss xmm1, xmm0
  stmxcsr [DATA]
  LOG "mxcsr", [DATA]
  mov eax, cr4
  or eax, 0x400
  mov cr4, eax
  TRY divss xmm1, xmm0
  mov dword [DATA], 0x10000
  TRY ldmxcsr [DATA]
END
