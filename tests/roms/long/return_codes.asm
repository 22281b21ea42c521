; Code segments that far returns refuse in long mode: L and D both, data, absent.
%include "rom.inc"
ROM
PM32
  LONG64
  GDTDESC FREE, 0, 0xFFFFF, 0xE09B
  GDTDESC FREE+8, 0, 0xFFFFF, 0xA01B
%macro RETURN 1
  mov rsp, STACK0
  push qword %1
  lea rax, [rel %%next]
  push rax
  EXPECT %%next
  o64 retf
%%next:
%endmacro
  RETURN FREE
  RETURN FREE+8
  RETURN FLAT
  RETURN 0
  RETURN CODE64
  mov rsp, STACK0
  LOG16 "cs", cs
  ; A call gate to code with L and D both.
  lea rax, [rel done]
  mov [GDT+FREE+16], ax
  mov word [GDT+FREE+18], FREE
  mov word [GDT+FREE+20], 0x8C00
  shr rax, 16
  mov [GDT+FREE+22], ax
  mov qword [GDT+FREE+24], 0
  mov word [DATA+4], FREE+16
  TRY call far dword [DATA]
done:
END
