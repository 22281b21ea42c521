; A bare guest for several vCPUs in parallel: litmus tests of x86's memory order (SDM vol. 3, 9.2), and counters that all
; vCPUs add to by locked instructions. 64-bit code, entered on the first vCPU at the first byte, memory mapped one to one;
; the host fills in the three numbers at "params". Without relocations: only RIP-relative and register addresses.
;
; Prints a line of how often each litmus test ended as it should not (the first one may: stores are buffered), a line of the
; counters, and turns itself off. In rounds: all meet at a barrier, wait for a moment of their own, and run their part.
bits 64
; r15: shared data; r14: number of the vCPU; r13: litmus test; r12: random numbers
%define DATA 0x300000
%define X    0x000
%define Y    0x100
%define RES  0x200     ; id*16: eax, ebx
%define CNT  0x400
%define GEN  0x440
%define NCPU 0x480
%define IDS  0x4c0
%define WEAK 0x500     ; test*4
%define C0   0x600
%define C1   0x640
%define C2   0x680
%define LCK  0x6c0
%define C3   0x700
%define C4   0x77e     ; across a line
%define C5   0x1ffe    ; across a page
%define C6   0x800     ; 16 bytes
%define C7   0x840
%define STK  0x4000    ; stacks: id*0x1000 behind
start:
  jmp go
  align 8
params:
rounds: dd 2000
loops:  dd 20000
ncpus:  dd 2
        dd 0
go:
  mov r15d, DATA
  mov eax, [rel ncpus]
  mov [r15+NCPU], eax
  ; trampoline to 0x8000
  lea rsi, [rel tramp]
  mov edi, 0x8000
  mov ecx, tramp_end - tramp
  rep movsb
  mov rax, cr3
  mov [0x8000 + (tr_cr3 - tramp)], eax
  mov rax, cr4
  mov [0x8000 + (tr_cr4 - tramp)], eax
  lea rax, [rel worker]
  mov [0x8000 + (tr_entry - tramp)], rax
  ; INIT, SIPI to all others
  mov ebx, 0xfee00000
  mov dword [rbx+0x300], 0xc4500
  mov ecx, 1000000
.d: dec ecx
  jnz .d
  mov dword [rbx+0x300], 0xc4608
worker:
  mov r15d, DATA
  mov r14d, 1
  lock xadd [r15+IDS], r14d
  mov eax, r14d
  shl eax, 12
  lea rsp, [r15+rax+STK+0xf00]
  mov r12d, r14d
  imul r12d, r12d, 0x9e3779b1
  xor r13d, r13d         ; test
.tests:
  mov ebp, [rel rounds]
.round:
  call barrier
  ; delay
  imul r12d, r12d, 1103515245
  add r12d, 12345
  mov ecx, r12d
  shr ecx, 26
  inc ecx
.dl: dec ecx
  jnz .dl
  xor eax, eax
  xor ebx, ebx
  lea rdx, [rel table]
  mov ecx, r13d
  shl ecx, 2
  or ecx, r14d
  movsxd rcx, dword [rdx+rcx*4]
  add rdx, rcx
  cmp r14d, 4
  jae .none
  call rdx
.none:
  mov ecx, r14d
  shl ecx, 4
  mov [r15+rcx+RES], eax
  mov [r15+rcx+RES+4], ebx
  call barrier
  test r14d, r14d
  jnz .next
  call check
  mov dword [r15+X], 0
  mov dword [r15+Y], 0
.next:
  dec ebp
  jnz .round
  inc r13d
  cmp r13d, 7
  jb .tests
  ; counters
  call barrier
  mov ebp, [rel loops]
.c:
  lock inc dword [r15+C0]
  mov eax, 1
  lock xadd [r15+C1], eax
  mov eax, [r15+C2]
.cx: lea ecx, [rax+1]
  lock cmpxchg [r15+C2], ecx
  jnz .cx
  ; spinlock by xchg, released by a plain store
.lk: mov eax, 1
  xchg [r15+LCK], eax
  test eax, eax
  jz .got
.sp: pause
  cmp dword [r15+LCK], 0
  jne .sp
  jmp .lk
.got:
  inc dword [r15+C3]
  mov dword [r15+LCK], 0
  lock add byte [r15+C7], 1
  lock adc word [r15+C7+2], 1
  clc
  test ebp, 63
  jnz .easy
  lock inc dword [r15+C4]
  lock add dword [r15+C5], 1
  mov rax, [r15+C6]
  mov rdx, [r15+C6+8]
.c16: mov rbx, rax
  mov rcx, rdx
  inc rbx
  add rcx, 3
  lock cmpxchg16b [r15+C6]
  jnz .c16
.easy:
  dec ebp
  jnz .c
  call barrier
  test r14d, r14d
  jnz stop
  ; print
  lea rsi, [r15+WEAK]
  mov ecx, 7
  call print
  mov rsi, r15
  mov eax, [r15+C0]
  call hex
  mov eax, [r15+C1]
  call hex
  mov eax, [r15+C2]
  call hex
  mov eax, [r15+C3]
  call hex
  mov eax, [r15+C4]
  call hex
  mov eax, [r15+C5]
  call hex
  mov eax, [r15+C6]
  call hex
  mov eax, [r15+C6+8]
  call hex
  mov eax, [r15+C7]
  movzx eax, al
  call hex
  mov al, 10
  call putc
  mov dx, 0x604
  mov ax, 0x3c00
  out dx, ax
stop:
  cli
  hlt
  jmp stop
print:
  push rcx
  mov eax, [rsi]
  add rsi, 4
  call hex
  pop rcx
  dec ecx
  jnz print
  mov al, 10
putc:
  mov dx, 0x3f8
  out dx, al
  ret
hex:
  mov ebx, eax
  mov ecx, 8
.h: rol ebx, 4
  mov al, bl
  and al, 15
  add al, '0'
  cmp al, '9'
  jbe .o
  add al, 39
.o: call putc
  dec ecx
  jnz .h
  mov al, ' '
  jmp putc
barrier:
  mov edx, [r15+GEN]
  mov eax, 1
  lock xadd [r15+CNT], eax
  inc eax
  cmp eax, [r15+NCPU]
  je .last
.w: pause
  cmp [r15+GEN], edx
  je .w
  ret
.last:
  mov dword [r15+CNT], 0
  lock inc dword [r15+GEN]
  ret
; bodies: eax, ebx are what was read
nothing: ret
sb0: mov dword [r15+X], 1
  mov eax, [r15+Y]
  ret
sb1: mov dword [r15+Y], 1
  mov eax, [r15+X]
  ret
sbm0: mov dword [r15+X], 1
  mfence
  mov eax, [r15+Y]
  ret
sbm1: mov dword [r15+Y], 1
  mfence
  mov eax, [r15+X]
  ret
sbx0: mov ecx, 1
  xchg [r15+X], ecx
  mov eax, [r15+Y]
  ret
sbx1: mov ecx, 1
  xchg [r15+Y], ecx
  mov eax, [r15+X]
  ret
sbl0: mov dword [r15+X], 1
  lock add dword [rsp-8], 0
  mov eax, [r15+Y]
  ret
sbl1: mov dword [r15+Y], 1
  lock add dword [rsp-8], 0
  mov eax, [r15+X]
  ret
mp0: mov dword [r15+X], 1
  mov dword [r15+Y], 1
  ret
mp1: mov eax, [r15+Y]
  mov ebx, [r15+X]
  ret
lb0: mov eax, [r15+X]
  mov dword [r15+Y], 1
  ret
lb1: mov eax, [r15+Y]
  mov dword [r15+X], 1
  ret
ir0: mov dword [r15+X], 1
  ret
ir1: mov dword [r15+Y], 1
  ret
ir2: mov eax, [r15+X]
  mov ebx, [r15+Y]
  ret
ir3: mov eax, [r15+Y]
  mov ebx, [r15+X]
  ret
table:
%macro row 4
  dd %1-table, %2-table, %3-table, %4-table
%endmacro
  row sb0, sb1, nothing, nothing
  row sbm0, sbm1, nothing, nothing
  row sbx0, sbx1, nothing, nothing
  row sbl0, sbl1, nothing, nothing
  row mp0, mp1, nothing, nothing
  row lb0, lb1, nothing, nothing
  row ir0, ir1, ir2, ir3
check:
  cmp r13d, 4
  jae .not_sb
  mov eax, [r15+RES]
  or eax, [r15+RES+16]
  jz .weak
  ret
.not_sb:
  jne .not_mp
  cmp dword [r15+RES+16], 1
  jne .ok
  cmp dword [r15+RES+20], 0
  je .weak
.ok: ret
.not_mp:
  cmp r13d, 6
  je .ir
  mov eax, [r15+RES]
  and eax, [r15+RES+16]
  jnz .weak
  ret
.ir:
  mov eax, [r15+RES+32]
  and eax, [r15+RES+48]
  mov ecx, [r15+RES+36]
  or ecx, [r15+RES+52]
  cmp eax, 1
  jne .ok
  test ecx, ecx
  jne .ok
.weak:
  inc dword [r15+WEAK+r13*4]
  ret
; real mode at 0x8000
align 8
tramp:
bits 16
  cli
  mov ax, 0x800
  mov ds, ax
  o32 lgdt [tr_gdtr - tramp]
  mov eax, [tr_cr4 - tramp]
  mov cr4, eax
  mov eax, [tr_cr3 - tramp]
  mov cr3, eax
  mov ecx, 0xc0000080
  rdmsr
  or eax, 0x100
  wrmsr
  mov eax, cr0
  or eax, 0x80000001
  mov cr0, eax
  jmp dword 8:(0x8000 + tr_long - tramp)
bits 64
tr_long:
  mov eax, 16
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov rax, [abs 0x8000 + (tr_entry - tramp)]
  jmp rax
align 8
tr_gdt: dq 0, 0x00af9b000000ffff, 0x00cf93000000ffff
tr_gdtr: dw 23
  dd 0x8000 + (tr_gdt - tramp)
align 8
tr_cr3: dd 0
tr_cr4: dd 0
tr_entry: dq 0
tramp_end:
