; Read-only data, execute-only and readable code as data segments; writes through CS.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, DATA, 0xFFFF, 0x4091
  GDTDESC FREE+8, DATA, 0xFFFF, 0x4099
  mov ax, FREE
  mov es, ax
  TRY mov eax, [es:0]
  TRY mov [es:0], eax
  TRY add dword [es:0], 1
  TRY xchg [es:0], eax
  mov ax, CODE32
  mov fs, ax
  TRY mov eax, [fs:0]
  TRY mov [fs:0], eax
  TRY mov [cs:0], eax
  TRY mov eax, [cs:0]
  GDTDESC FREE+16, BASE, 0xFFFF, 0x4099
  jmp FREE+16:.only
.only:
  EXPECT .read
  mov eax, [cs:0]
.read:
  jmp CODE32:.back
.back:
END
