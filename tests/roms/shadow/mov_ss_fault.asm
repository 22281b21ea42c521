; A fault right behind MOV SS; MOV to other segment registers has no shadow.
%include "rom.inc"
ROM
PM32
  GATE_LABEL IDT+8, CODE32, step, 0x8E
  mov ax, ss
  mov bx, ds
  push dword 0x102
  popfd
  mov ds, bx
  nop
  mov ss, ax
  EXPECT .a
  ud2
.a:
  push dword 2
  popfd
  jmp done
step:
  push ebp
  mov ebp, esp
  LOG "step", [ebp+4]
  mov eax, dr6
  LOG "dr6", eax
  pop ebp
  mov ax, ss
  iretd
done:
END
