; The T flag of a TSS: a debug trap before the new task's first instruction, DR6.BT.
%include "rom.inc"
ROM
PM32
  GDTDESC FREE, TSS2, 0x67, 0x0089
  GATE_LABEL IDT+8, CODE32, trapped, 0x8E
  mov dword [TSS2+0x20], task
  mov dword [TSS2+0x24], 0x02
  mov dword [TSS2+0x38], STACK_B
  mov dword [TSS2+0x48], FLAT
  mov dword [TSS2+0x4C], CODE32
  mov dword [TSS2+0x50], FLAT
  mov dword [TSS2+0x54], FLAT
  mov dword [TSS2+0x5C], FLAT
  mov dword [TSS2+0x64], 1
  mov eax, 0x155
  mov dr7, eax
  call FREE:0
  mov eax, dr7
  LOG "dr7 back", eax
  jmp done
task:
  PRINT {"task", 10}
  iretd
trapped:
  mov ebp, esp
  LOG "eip", [ebp]
  mov eax, dr6
  LOG "dr6", eax
  mov eax, dr7
  LOG "dr7", eax
  iretd
done:
END
