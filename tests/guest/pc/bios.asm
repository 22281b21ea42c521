; A BIOS for tests of boot loaders: every service is the test's (test-bios.ts). An interrupt's registers go on the stack,
; the stack's linear address to port 500H, and come back changed. The interval timer counts ticks at 0040:006C.
;
; The frame that port 500H names: ES DS EDI ESI EBP ESP EBX EDX ECX EAX, number, IP CS FLAGS.
bits 16
org 0
start:
  cli
  cld
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7000
  ; Vectors: services 10H to 1FH to the test, IRQ 0 to the timer, the rest returns.
  xor di, di
  mov cx, 256
.vector:
  mov ax, nothing
  stosw
  mov ax, cs
  stosw
  loop .vector
  mov di, 0x10*4
  mov ax, services
  mov cx, 16
.service:
  stosw
  add di, 2
  add ax, 8
  loop .service
  mov word [8*4], timer
  ; Data area: equipment, memory, text mode 3.
  mov word [0x410], 0x0021
  mov word [0x413], 639
  mov byte [0x449], 3
  mov word [0x44A], 80
  mov word [0x44C], 4096
  mov word [0x463], 0x3D4
  mov byte [0x484], 24
  mov word [0x485], 16
  mov dword [0x46C], 0
  ; Without the local APIC the 8259A's output is the processor's INTR pin.
  mov ecx, 0x1B
  rdmsr
  and ah, 0xF7
  wrmsr
  ; 8259A: vectors 08H and 70H, only the timer. 8254: 18.2 times a second.
  mov al, 0x11
  out 0x20, al
  out 0xA0, al
  mov al, 0x08
  out 0x21, al
  mov al, 0x70
  out 0xA1, al
  mov al, 4
  out 0x21, al
  mov al, 2
  out 0xA1, al
  mov al, 1
  out 0x21, al
  out 0xA1, al
  mov al, 0xFE
  out 0x21, al
  mov al, 0xFF
  out 0xA1, al
  mov al, 0x36
  out 0x43, al
  xor al, al
  out 0x40, al
  out 0x40, al
  ; What to start is the test's choice: INT 19H answers ES:BX.
  sti
  int 0x19
  xor dx, dx
  push es
  push bx
  retf

align 8
services:
%assign n 0x10
%rep 16
  align 8
  push byte n
  jmp strict near service
%assign n n+1
%endrep

service:
  pushad
  push ds
  push es
  xor eax, eax
  mov ax, ss
  shl eax, 4
  movzx ebx, sp
  add eax, ebx
  mov dx, 0x500
  out dx, eax
  pop es
  pop ds
  popad
  add sp, 2
  iret

timer:
  push ds
  push ax
  xor ax, ax
  mov ds, ax
  inc dword [0x46C]
  mov al, 0x20
  out 0x20, al
  pop ax
  pop ds
  int 0x1C
  iret
nothing:
  iret
times 0xFFF0-($-$$) db 0xFF
  jmp 0xF000:start
times 0x10000-($-$$) db 0xFF
