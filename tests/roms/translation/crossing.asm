; Accesses across two pages: which page's fault comes, CR2, flags.
%include "rom.inc"
%include "translation/pages.inc"
ROM
PM32
  CLEAR_TABLES
  IDENTITY TABLE0, 4
  mov dword [gs:ROOT], TABLE0+7
  mov dword [gs:ROOT+4], TABLE1+7
  mov dword [gs:TABLE1], FRAME+7
  mov dword [gs:TABLE1+8], FRAME+0x1007
  mov dword [gs:TABLE1+12], FRAME+0x2005
  mov dword [gs:TABLE1+16], FRAME+0x3007
  mov eax, ROOT
  mov cr3, eax
  mov eax, cr0
  or eax, 0x80010000
  mov cr0, eax
  TRY mov eax, [0x400FFE]
  LOG "pte0", [gs:TABLE1]
  TRY mov [0x400FFD], eax
  TRY mov eax, [0x401FFF]
  LOG "pte2", [gs:TABLE1+8]
  TRY mov eax, [0x402FFF]
  TRY mov [0x402FFD], eax
  LOG "pte3", [gs:TABLE1+12]
  TRY mov [0x403FFE], eax
  LOG "pte3", [gs:TABLE1+12]
  TRY add dword [0x402FFF], 1
  TRY fld tword [0x400FF8]
  TRY push dword [0x401FFE]
  mov esi, 0x400FFE
  mov edi, DATA
  mov ecx, 4
  TRY rep movsb
  LOG "ecx", ecx
  LOG "esi", esi
  LOG "edi", edi
  mov edi, 0x402FFE
  mov ecx, 4
  TRY rep stosb
  LOG "ecx", ecx
  LOG "edi", edi
  RING3
  mov esp, 0x402002
  TRY push eax
  mov esp, 0x404002
  TRY push eax
  mov ebp, esp
  mov esp, STACK3
  LOG "ebp", ebp
END
