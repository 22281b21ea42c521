/*
 * The least that a virtual machine monitor in C does, as a measure for the engine in TypeScript, with the same system
 * calls: KVM_RUN, a switch over the exits, KVM_INTERRUPT when KVM says that the guest can take one, MSRs answered here
 * behind the same filter, and a timer's signal that ends KVM_RUN at the PIT's next tick. What the guest starts from is a
 * file that the measuring side writes (guest/reference-vmm.ts), so that both run the very same:
 *
 *   u64 RAM bytes, kvm_regs, kvm_sregs, u32 bytes of kvm_cpuid2, kvm_cpuid2,
 *   u32 ranges of the MSR filter, each: u32 first, u32 0, u64 bits; u32 MSRs, each: u32 index, u32 1 read | 2 written, u64,
 *   then chunks: u64 address, u64 length, bytes
 *
 *   vmm FILE                  until HLT: prints nanoseconds and exits
 *   vmm FILE MARKER           until MARKER comes out of the UART, which is repeated on stderr: likewise
 *   vmm FILE MARKER kernel    with KVM's own interrupt controllers and timer
 *
 * Left out: PCI, ACPI, the local APIC, a keyboard, input to the UART.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "devices.h"

enum { KICK = SIGURG, MAX_RANGES = 16, MAX_MSRS = 256, MSR_READ = 1, MSR_WRITTEN = 2 };

static int kvm, vm, vcpu, has_kernel_controllers;
static struct kvm_run *run;
static timer_t timer;
static uint64_t timer_at;
static struct { uint32_t first, zero; uint64_t bits; } ranges[MAX_RANGES];
static struct { uint32_t index, allowed; uint64_t value; } msrs[MAX_MSRS];
static uint32_t range_count, msr_count;
static struct { uint64_t port, mmio, msr, halt, window, signal, interrupts; } counts;

void fail(const char *what)
{
    perror(what);
    exit(2);
}

static int request(int fd, const char *what, unsigned long number, void *argument)
{
    int result = ioctl(fd, number, argument);
    if (result < 0)
        fail(what);
    return result;
}

uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

void set_irq(int irq, int level)
{
    if (!has_kernel_controllers) {
        pic_set(irq, level);
        return;
    }
    struct kvm_irq_level line = { .irq = irq, .level = level };
    request(vm, "KVM_IRQ_LINE", KVM_IRQ_LINE, &line);
}

void arm_timer(uint64_t at)
{
    if (at == timer_at)
        return;
    timer_at = at;
    struct itimerspec spec = { .it_value = timespec_of(at) };
    if (timer_settime(timer, TIMER_ABSTIME, &spec, 0))
        fail("timer_settime");
}

static int port_exit(void)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        for (int byte = 0; byte < run->io.size; byte++) {
            if (run->io.direction == KVM_EXIT_IO_IN)
                data[byte] = in(run->io.port + byte);
            else if (!out(run->io.port + byte, data[byte]))
                return 0;
        }
    }
    return 1;
}

/* What is not in the table is a #GP(0). */
static void msr_exit(int is_write)
{
    run->msr.error = 1;
    for (uint32_t i = 0; i < msr_count; i++) {
        if (msrs[i].index != run->msr.index || !(msrs[i].allowed & (is_write ? MSR_WRITTEN : MSR_READ)))
            continue;
        if (is_write)
            msrs[i].value = run->msr.data;
        else
            run->msr.data = msrs[i].value;
        run->msr.error = 0;
    }
}

static void take_kick(void)
{
    sigset_t kick;
    struct timespec zero = { 0 };
    sigemptyset(&kick);
    sigaddset(&kick, KICK);
    sigtimedwait(&kick, 0, &zero);
}

/* Until the next tick: nothing else comes. */
static void halt(void)
{
    if (!timer_at)
        fail("the guest halted for good");
    struct timespec until = timespec_of(timer_at);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0);
    pit_update();
}

static void inject(void)
{
    run->request_interrupt_window = 0;
    if (has_kernel_controllers || !pic_is_pending())
        return;
    if (!run->ready_for_interrupt_injection) {
        run->request_interrupt_window = 1;
        return;
    }
    struct kvm_interrupt interrupt = { .irq = pic_acknowledge() };
    request(vcpu, "KVM_INTERRUPT", KVM_INTERRUPT, &interrupt);
    run->ready_for_interrupt_injection = 0;
    counts.interrupts++;
    run->request_interrupt_window = pic_is_pending();
}

static void run_guest(int ends_by_halt)
{
    for (;;) {
        inject();
        if (ioctl(vcpu, KVM_RUN, 0) < 0) {
            if (errno != EINTR && errno != EAGAIN)
                fail("KVM_RUN");
            counts.signal++;
            take_kick();
            timer_at = 0;
            pit_update();
            continue;
        }
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            counts.port++;
            if (!port_exit() || uart_is_done())
                return;
            break;
        case KVM_EXIT_MMIO:
            counts.mmio++;
            if (!run->mmio.is_write)
                memset(run->mmio.data, 0xff, run->mmio.len);
            break;
        case KVM_EXIT_X86_RDMSR:
        case KVM_EXIT_X86_WRMSR:
            counts.msr++;
            msr_exit(run->exit_reason == KVM_EXIT_X86_WRMSR);
            break;
        case KVM_EXIT_IRQ_WINDOW_OPEN:
            counts.window++;
            break;
        case KVM_EXIT_HLT:
            counts.halt++;
            if (ends_by_halt)
                return;
            halt();
            break;
        default:
            fprintf(stderr, "exit %u\n", run->exit_reason);
            exit(2);
        }
    }
}

/* As the engine's: one signal ends KVM_RUN, and none else comes through while the guest runs. */
static void admit_kicks(void)
{
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, KICK);
    sigprocmask(SIG_BLOCK, &kick, 0);
    struct {
        struct kvm_signal_mask head;
        uint8_t set[8];
    } mask = { .head.len = 8 };
    uint64_t all_others = ~(1ull << (KICK - 1));
    memcpy(mask.head.sigset, &all_others, sizeof all_others);
    request(vcpu, "KVM_SET_SIGNAL_MASK", KVM_SET_SIGNAL_MASK, &mask);
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = KICK };
    if (timer_create(CLOCK_MONOTONIC, &event, &timer))
        fail("timer_create");
}

static void filter_msrs(void)
{
    struct kvm_enable_cap exits = {
        .cap = KVM_CAP_X86_USER_SPACE_MSR,
        .args = { KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER },
    };
    request(vm, "KVM_ENABLE_CAP", KVM_ENABLE_CAP, &exits);
    if (has_kernel_controllers)
        return;
    struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_DENY };
    for (uint32_t i = 0; i < range_count; i++)
        filter.ranges[i] = (struct kvm_msr_filter_range){
            .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .nmsrs = 64, .base = ranges[i].first, .bitmap = (uint8_t *)&ranges[i].bits };
    request(vm, "KVM_X86_SET_MSR_FILTER", KVM_X86_SET_MSR_FILTER, &filter);
}

static void read_all(FILE *file, void *into, size_t bytes)
{
    if (fread(into, 1, bytes, file) != bytes)
        fail("reading the guest");
}

static void read_table(FILE *file, uint32_t *count, uint32_t most, void *entries)
{
    read_all(file, count, sizeof *count);
    if (*count > most)
        fail("a table of the guest's");
    read_all(file, entries, 16 * *count);
}

int main(int count, char **arguments)
{
    if (count < 2)
        return 2;
    const char *marker = count > 2 ? arguments[2] : 0;
    has_kernel_controllers = count > 3;
    uart_expect(marker);
    FILE *file = fopen(arguments[1], "r");
    if (!file)
        fail(arguments[1]);
    uint64_t ram_bytes, chunk[2];
    uint32_t cpuid_bytes;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    read_all(file, &ram_bytes, sizeof ram_bytes);
    read_all(file, &regs, sizeof regs);
    read_all(file, &sregs, sizeof sregs);
    read_all(file, &cpuid_bytes, sizeof cpuid_bytes);
    struct kvm_cpuid2 *cpuid = malloc(cpuid_bytes);
    read_all(file, cpuid, cpuid_bytes);
    read_table(file, &range_count, MAX_RANGES, ranges);
    read_table(file, &msr_count, MAX_MSRS, msrs);

    uint64_t start = now();
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        fail("/dev/kvm");
    vm = request(kvm, "KVM_CREATE_VM", KVM_CREATE_VM, 0);
    ioctl(vm, KVM_SET_TSS_ADDR, 0xfeffd000ul);
    if (has_kernel_controllers) {
        struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
        request(vm, "KVM_CREATE_IRQCHIP", KVM_CREATE_IRQCHIP, 0);
        request(vm, "KVM_CREATE_PIT2", KVM_CREATE_PIT2, &pit);
    }
    uint8_t *ram = mmap(0, ram_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram == MAP_FAILED)
        fail("mmap");
    struct kvm_userspace_memory_region slot = { .memory_size = ram_bytes, .userspace_addr = (uintptr_t)ram };
    request(vm, "KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, &slot);
    while (fread(chunk, sizeof chunk, 1, file) == 1) {
        if (chunk[0] > ram_bytes || chunk[1] > ram_bytes - chunk[0])
            fail("a chunk beyond RAM");
        read_all(file, ram + chunk[0], chunk[1]);
    }
    filter_msrs();
    vcpu = request(vm, "KVM_CREATE_VCPU", KVM_CREATE_VCPU, 0);
    int run_bytes = request(kvm, "KVM_GET_VCPU_MMAP_SIZE", KVM_GET_VCPU_MMAP_SIZE, 0);
    run = mmap(0, run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        fail("mmap");
    request(vcpu, "KVM_SET_CPUID2", KVM_SET_CPUID2, cpuid);
    request(vcpu, "KVM_SET_SREGS", KVM_SET_SREGS, &sregs);
    request(vcpu, "KVM_SET_REGS", KVM_SET_REGS, &regs);
    admit_kicks();
    pit_start();
    uint64_t ready = now();
    run_guest(!marker);
    uint64_t end = now();
    if (marker && !uart_is_done()) {
        fprintf(stderr, "the guest ended before it said \"%s\"\n", marker);
        return 1;
    }
    printf("{\"setUpNs\":%llu,\"runNs\":%llu,\"exits\":{\"port\":%llu,\"mmio\":%llu,\"msr\":%llu,\"halt\":%llu,\"window\":%llu,\"signal\":%llu},\"interrupts\":%llu}\n",
           (unsigned long long)(ready - start), (unsigned long long)(end - ready), (unsigned long long)counts.port,
           (unsigned long long)counts.mmio, (unsigned long long)counts.msr, (unsigned long long)counts.halt,
           (unsigned long long)counts.window, (unsigned long long)counts.signal, (unsigned long long)counts.interrupts);
    return 0;
}
