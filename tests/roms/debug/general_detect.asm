; DR7.GD: a fault before any MOV to or from a debug register; BD in DR6; GD is cleared for the handler.
%include "rom.inc"
%include "debug.inc"
ROM
PM32
  DEBUG32
  GATE_LABEL IDT+8, CODE32, handler, 0x8E
  mov eax, 0x2400
  mov dr7, eax
  mov ebx, dr0
after1:
  mov eax, dr7
  LOG "dr7", eax
  mov eax, 0x2400
  mov dr7, eax
  mov dr3, eax
after2:
  mov eax, 0x2400
  mov dr7, eax
  db 0x0F, 0x21, 0xE8
  jmp done
handler:
  mov ebp, esp
  LOG "ip", [ebp]
  LOG "fl", [ebp+8]
  mov eax, dr7
  LOG "dr7", eax
  mov eax, dr6
  LOG "dr6", eax
  xor eax, eax
  mov dr6, eax
  add dword [esp], 3
  iretd
done:
END
