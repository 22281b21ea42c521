; LMSW sets and clears MP, EM and TS, sets PE but never clears it; SMSW of all sizes; CLTS.
%include "rom.inc"
ROM
PM32
  mov ax, 0xFFFE
  TRY lmsw ax
  LOG "cr0", cr0
  clts
  LOG "clts", cr0
  mov word [DATA], 0
  TRY lmsw [DATA]
  LOG "cr0", cr0
  mov eax, -1
  smsw eax
  LOG "32 bits", eax
  mov eax, -1
  smsw ax
  LOG "16 bits", eax
  mov dword [DATA], -1
  smsw [DATA]
  LOG "memory", [DATA]
  mov dword [DATA], -1
  db 0x66
  smsw [DATA]
  LOG "memory", [DATA]
END
