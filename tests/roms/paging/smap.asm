; SMAP: ring 0 does not touch user pages but with AC set; implicit accesses never do. STAC, CLAC.
; bochs: cpu=broadwell_ult
%include "rom.inc"
%include "paging.inc"
ROM
  cpu default
PM32
  PAGES32 3
  PTE 1, F(1)+3
  PAGING_ON
  TRY stac
  LOGFLAGS "flags", 0x40000
  TRY clac
  LOGFLAGS "flags", 0x40000
  CR4_SET 0x200000
  TRY mov eax, [V(0)]
  TRY mov [V(0)], eax
  TRY mov eax, [V(1)]
  stac
  LOGFLAGS "flags", 0x40000
  TRY mov eax, [V(0)]
  TRY mov [V(0)], eax
  clac
  TRY mov eax, [V(0)]
  ; popfd sets AC as well.
  push dword 0x40002
  popfd
  TRY mov eax, [V(0)]
  ; A descriptor table in a user page: AC does not count, nor does the ring.
  mov dword [V(0)+8], 0x0000FFFF
  mov dword [V(0)+12], 0x00CFF300
  GDTDESC MAINLDT, V(0), 0x1FF, 0x0082
  mov ax, MAINLDT
  lldt ax
  GATE_LABEL IDT+14*8, CODE32, noted, 0x8E
  mov dword [SCRATCH], 0xFF
  mov ax, 0xC
  EXPECT .a
  mov ds, ax
.a:
  mov ax, FLAT
  mov ds, ax
  LOG "implicit, AC", [SCRATCH]
  CR4_CLEAR 0x200000
  mov dword [SCRATCH], 0xFF
  clac
  mov ax, 0xC
  mov ds, ax
  mov eax, [V(0)]
  mov ax, FLAT
  mov ds, ax
  LOG "without SMAP", [SCRATCH]
  jmp done
noted:
  pop dword [gs:SCRATCH]
  push eax
  mov eax, [gs:RESUME]
  mov [esp+4], eax
  pop eax
  iretd
done:
END
