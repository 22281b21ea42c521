/*
 * Runs single user-mode instructions on the real CPU and reports everything they changed.
 *
 * Input and output are batches: { u32 magic, u32 count, u64 bytes } and then the records, laid out as in
 * tests/cpu/wire.ts. Each batch runs in a forked child, whose whole work happens inside one signal handler:
 * the handler records the frame of the last case, writes the next case into the frame (registers, flags with
 * TF, FXSAVE image) and returns; the kernel's sigreturn loads all of it at once and the CPU executes exactly one
 * instruction before the next signal. Vector, error code and CR2 are the frame's REG_TRAPNO, REG_ERR, REG_CR2.
 *
 * The instruction ends on the last byte of a read-execute page; the page after it, and the pages around the
 * data window, are unmapped. The child can only sigreturn and exit (seccomp); a case that kills it, or hangs it,
 * is reported as such and the batch goes on in a new child. FS and GS bases are constants of the machine, except where
 * a case brings segment registers: those may name entries of the LDT, which is filled from the arguments.
 * Built position-independent: nothing of its own is then within 32 bits of the window, where a stray store lands.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <asm/prctl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum {
  PAGE = 4096,
  CODE_BASE = 0x20000000,
  DATA_BASE = 0x30000000,
  DATA_SIZE = 3 * PAGE,
  FS_BASE = 0x40000000,
  GS_BASE = 0x2ffff000,
  STATE_SIZE = 416,           /* the part of an FXSAVE image that holds state */
  MAX_BATCH = 1 << 26,
  MAX_STEPS = 1 << 16,        /* of one REP instruction */
  HANG_SECONDS = 30,
  FLAG_UNTIL_DONE = 1,
  FLAG_COMPATIBILITY = 2,     /* 32-bit code */
  FLAG_SEGMENTS = 4,          /* all segment registers are the case's */
  CS_64 = 0x33,
  CS_32 = 0x23,
  DATA_SELECTOR = 0x2b,
  EXIT_NOT_CONFINED = 9,
};
static const uint32_t MAGIC = 0x31504d54; /* "TMP1" */

struct batch { uint32_t magic, count; uint64_t bytes; };
struct input {
  uint32_t size; uint8_t code_length, flags; uint16_t patch_count;
  uint64_t rflags, gpr[16]; uint8_t state[STATE_SIZE], code[16];
  uint64_t rip; uint16_t segment[8];
  uint8_t patches[]; /* { u16 offset, u16 length, u32 0, bytes padded to 8 } */
};
struct patch { uint16_t offset, length; uint32_t zero; uint8_t bytes[]; };
struct change { uint64_t offset, value; };
struct output {
  uint32_t size; uint16_t change_count; uint8_t status, signal;
  uint64_t vector, error, cr2, rip, rflags, gpr[16]; uint8_t state[STATE_SIZE]; uint16_t segment[8];
  struct change changes[];
};
enum { CS, SS, DS, ES, FS, GS }; /* the order of `segment` */
enum { STATUS_DONE = 0, STATUS_KILLED = 1, STATUS_ENDLESS = 2 };
#define MAX_OUTPUT (sizeof(struct output) + DATA_SIZE / 8 * sizeof(struct change))

static struct progress { volatile uint32_t next; volatile uint64_t in, out; } *progress; /* shared with the child */
static uint8_t *inputs, *outputs, *code_alias;
static uint8_t *const window = (uint8_t *)(uintptr_t)DATA_BASE;
static uint8_t pattern[DATA_SIZE], expected[DATA_SIZE];
static uint32_t batch_count, steps;
static const struct input *current;

static const int REG_OF_GPR[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void fail(const char *what) {
  fprintf(stderr, "host-harness: %s: %s\n", what, strerror(errno));
  exit(2);
}

static void load(const struct input *c, ucontext_t *uc) {
  greg_t *regs = uc->uc_mcontext.gregs;
  uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
  memset(code_alias + PAGE - 16, 0xcc, 16);
  memcpy(code_alias + PAGE - c->code_length, c->code, c->code_length);
  const uint8_t *at = c->patches;
  for (int i = 0; i < c->patch_count; i++) {
    const struct patch *p = (const struct patch *)at;
    memcpy(window + p->offset, p->bytes, p->length);
    memcpy(expected + p->offset, p->bytes, p->length);
    at += sizeof *p + ((p->length + 7u) & ~7u);
  }
  for (int i = 0; i < 16; i++) regs[REG_OF_GPR[i]] = (greg_t)c->gpr[i];
  regs[REG_RIP] = (greg_t)c->rip;
  regs[REG_EFL] = (greg_t)(c->rflags | 0x100);
  int is_compatible = c->flags & FLAG_COMPATIBILITY;
  /* CS, GS, FS, SS; the kernel loads the first and the last. DS and ES are as this handler leaves them. */
  uint16_t cs = is_compatible ? CS_32 : CS_64, ss = DATA_SELECTOR, ds = is_compatible ? DATA_SELECTOR : 0, es = ds;
  if (c->flags & FLAG_SEGMENTS) {
    cs = c->segment[CS], ss = c->segment[SS], ds = c->segment[DS], es = c->segment[ES];
    __asm__ volatile("movw %0, %%fs\n\tmovw %1, %%gs" : : "r"(c->segment[FS]), "r"(c->segment[GS]));
  }
  regs[REG_CSGSFS] = (greg_t)((uint64_t)cs | (uint64_t)ss << 48);
  __asm__ volatile("movw %0, %%ds\n\tmovw %1, %%es" : : "r"(ds), "r"(es));
  memcpy(fp, c->state, STATE_SIZE);
  *(uint64_t *)(fp + 512) |= 3; /* XSTATE_BV: x87 and SSE are taken from the image */
  steps = 0;
}

static void record(const ucontext_t *uc, int sig, int status) {
  const greg_t *regs = uc->uc_mcontext.gregs;
  struct output *o = (struct output *)(outputs + progress->out);
  o->status = (uint8_t)status;
  o->signal = (uint8_t)sig;
  o->vector = (uint64_t)regs[REG_TRAPNO];
  o->error = (uint64_t)regs[REG_ERR];
  o->cr2 = o->vector == 14 ? (uint64_t)regs[REG_CR2] : 0;
  o->rip = (uint64_t)regs[REG_RIP];
  o->rflags = (uint64_t)regs[REG_EFL];
  for (int i = 0; i < 16; i++) o->gpr[i] = (uint64_t)regs[REG_OF_GPR[i]];
  memcpy(o->state, uc->uc_mcontext.fpregs, STATE_SIZE);
  o->segment[CS] = (uint16_t)regs[REG_CSGSFS];
  o->segment[SS] = (uint16_t)((uint64_t)regs[REG_CSGSFS] >> 48);
  __asm__ volatile("movw %%ds, %0\n\tmovw %%es, %1\n\tmovw %%fs, %2\n\tmovw %%gs, %3"
                   : "=m"(o->segment[DS]), "=m"(o->segment[ES]), "=m"(o->segment[FS]), "=m"(o->segment[GS]));
  uint32_t n = 0;
  if (memcmp(window, expected, DATA_SIZE) != 0) {
    for (uint32_t at = 0; at < DATA_SIZE; at += 8) {
      uint64_t now, before;
      memcpy(&now, window + at, 8);
      memcpy(&before, expected + at, 8);
      if (now == before) continue;
      o->changes[n++] = (struct change){at, now};
      memcpy(window + at, pattern + at, 8);
    }
  }
  const uint8_t *at = current->patches;
  for (int i = 0; i < current->patch_count; i++) {
    const struct patch *p = (const struct patch *)at;
    memcpy(window + p->offset, pattern + p->offset, p->length);
    memcpy(expected + p->offset, pattern + p->offset, p->length);
    at += sizeof *p + ((p->length + 7u) & ~7u);
  }
  o->change_count = (uint16_t)n;
  o->size = (uint32_t)(sizeof *o + n * sizeof(struct change));
  progress->out += o->size;
  progress->in += current->size;
  progress->next++;
}

static void on_signal(int sig, siginfo_t *info, void *context) {
  /* The case's AC and DF are still set here; the flags that sigreturn does not load are cleared for good. */
  __asm__ volatile("pushq $0x202\n\tpopfq" ::: "memory", "cc");
  ucontext_t *uc = context;
  greg_t *regs = uc->uc_mcontext.gregs;
  (void)info;
  if (current) {
    int status = STATUS_DONE;
    if ((current->flags & FLAG_UNTIL_DONE) && regs[REG_TRAPNO] == 1 && regs[REG_RIP] == (greg_t)current->rip) {
      if (++steps < MAX_STEPS) return;
      status = STATUS_ENDLESS;
    }
    record(uc, sig, status);
  }
  if (progress->next == batch_count) syscall(SYS_exit, 0);
  current = (const struct input *)(inputs + progress->in);
  load(current, uc);
}

/* From here on FS is not the C library's: nothing that touches thread-local storage may be called. */
static long system_call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

static void confine(void) {
  static struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  static struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
  if (system_call(SYS_arch_prctl, ARCH_SET_FS, FS_BASE, 0) || system_call(SYS_arch_prctl, ARCH_SET_GS, GS_BASE, 0) ||
      system_call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program))
    system_call(SYS_exit, EXIT_NOT_CONFINED, 0, 0);
}

static void child(void) {
  static const int SIGNALS[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  for (unsigned i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) sigaction(SIGNALS[i], &action, NULL);
  stack_t stack = {.ss_size = 1 << 18};
  stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL)) fail("sigaltstack");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
  alarm(HANG_SECONDS);
  memcpy(window, pattern, DATA_SIZE);
  memcpy(expected, pattern, DATA_SIZE);
  confine();
  __asm__ volatile("int3"); /* the first signal loads the first case */
  __builtin_unreachable();
}

static void run_batch(void) {
  progress->next = 0;
  progress->in = progress->out = 0;
  while (progress->next < batch_count) {
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) child();
    int status;
    if (waitpid(pid, &status, 0) != pid) fail("waitpid");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    if (WIFEXITED(status)) {
      fprintf(stderr, "host-harness: a child could not be set up (%d)\n", WEXITSTATUS(status));
      exit(2);
    }
    struct output *o = (struct output *)(outputs + progress->out);
    memset(o, 0, sizeof *o);
    o->size = sizeof *o;
    o->status = STATUS_KILLED;
    o->signal = (uint8_t)WTERMSIG(status);
    progress->out += o->size;
    progress->in += ((const struct input *)(inputs + progress->in))->size;
    progress->next++;
  }
}

static int transfer(int fd, void *buffer, size_t size, int is_write) {
  for (uint8_t *at = buffer, *end = at + size; at < end;) {
    ssize_t n = is_write ? write(fd, at, (size_t)(end - at)) : read(fd, at, (size_t)(end - at));
    if (n <= 0) return 0;
    at += n;
  }
  return 1;
}

static void *map(uintptr_t at, size_t size, int protection, int flags, int fd) {
  void *p = mmap((void *)at, size, protection, flags | (at ? MAP_FIXED_NOREPLACE : 0), fd, 0);
  if (p == MAP_FAILED || (at && p != (void *)at)) fail("mmap");
  return p;
}

/* Arguments: "BASE LIMIT FLAGS" in hexadecimal for each entry of the LDT; flags as in struct user_desc. */
static void fill_ldt(int count, char **entries) {
  for (int i = 0; i < count; i++) {
    struct { uint32_t entry, base, limit, flags; } descriptor = {.entry = (uint32_t)i};
    if (sscanf(entries[i], "%x %x %x", &descriptor.base, &descriptor.limit, &descriptor.flags) != 3) exit(3);
    if (syscall(SYS_modify_ldt, 0x11, &descriptor, sizeof descriptor)) fail("modify_ldt");
  }
}

int main(int argc, char **argv) {
  fill_ldt(argc - 1, argv + 1);
  int code = memfd_create("code", 0);
  if (code < 0 || ftruncate(code, PAGE)) fail("memfd");
  code_alias = map(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, code);
  memset(code_alias, 0xcc, PAGE);
  map(CODE_BASE, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_POPULATE, code);
  map(DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1);
  progress = map(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
  inputs = map(0, MAX_BATCH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  for (uint32_t i = 0; i < DATA_SIZE; i++) pattern[i] = (uint8_t)((i * 0x9e3779b1u) >> 24);
  struct batch batch;
  while (transfer(0, &batch, sizeof batch, 0)) {
    if (batch.magic != MAGIC || batch.bytes > MAX_BATCH || !transfer(0, inputs, batch.bytes, 0)) return 3;
    batch_count = batch.count;
    size_t room = (size_t)batch_count * MAX_OUTPUT + PAGE;
    outputs = map(0, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    run_batch();
    batch.bytes = progress->out;
    if (!transfer(1, &batch, sizeof batch, 1) || !transfer(1, outputs, batch.bytes, 1)) return 3;
    munmap(outputs, room);
  }
  return 0;
}
