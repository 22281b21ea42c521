/*
 * The least that a virtual machine monitor in C does, as a measure for the engine in TypeScript: KVM_RUN, a switch over
 * the exits, a UART and a CMOS clock; interrupt controllers, timer and local APIC are KVM's own. What the guest starts
 * from is a file that the measuring side writes (guest/reference-vmm.ts), so that both run the very same:
 *
 *   u64 RAM bytes, kvm_regs, kvm_sregs, u32 bytes of kvm_cpuid2, kvm_cpuid2, then chunks: u64 address, u64 length, bytes
 *
 *   vmm FILE           until HLT: prints nanoseconds and exits
 *   vmm FILE MARKER    until MARKER comes out of the UART, which is repeated on stderr: likewise
 *
 * Left out: PCI, ACPI, a keyboard (ports read as all ones), input to the UART.
 */
#include <fcntl.h>
#include <signal.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { UART = 0x3f8, UART_IRQ = 4, CMOS_INDEX = 0x70, CMOS_DATA = 0x71, RESET_COMMAND = 0x64 };
enum { IER = 1, IIR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCRATCH = 7 };
enum { IER_THR_EMPTY = 2, IIR_THR_EMPTY = 2, IIR_NONE = 1, LCR_DLAB = 0x80, LSR_EMPTY = 0x60, MSR_READY = 0xb0 };

static int kvm, vm, vcpu;
static struct kvm_run *run;
static uint8_t uart[8], divisor[2], cmos_index;
static int is_thr_empty;
static const char *marker;
static size_t matched;
static uint64_t exits;

static void fail(const char *what)
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

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void read_all(FILE *file, void *into, size_t bytes)
{
    if (fread(into, 1, bytes, file) != bytes)
        fail("reading the guest");
}

static void uart_interrupt(void)
{
    struct kvm_irq_level level = { .irq = UART_IRQ, .level = is_thr_empty && (uart[IER] & IER_THR_EMPTY) };
    request(vm, "KVM_IRQ_LINE", KVM_IRQ_LINE, &level);
}

static void uart_write(int at, uint8_t value)
{
    int is_divisor = at < 2 && (uart[LCR] & LCR_DLAB);
    if (is_divisor)
        divisor[at] = value;
    else if (at != 0 && at != IIR && at != LSR && at != MSR)
        uart[at] = value;
    if (is_divisor || at > 1)
        return;
    if (at == 0 && marker) {
        matched = (char)value == marker[matched] ? matched + 1 : (char)value == marker[0];
        fputc(value, stderr);
    }
    is_thr_empty = 0;
    uart_interrupt();
    is_thr_empty = 1;
    uart_interrupt();
}

static uint8_t uart_read(int at)
{
    if (at < 2 && (uart[LCR] & LCR_DLAB))
        return divisor[at];
    switch (at) {
    case 0:
        return 0;
    case IIR:
        if (!is_thr_empty || !(uart[IER] & IER_THR_EMPTY))
            return IIR_NONE;
        is_thr_empty = 0;
        uart_interrupt();
        return IIR_THR_EMPTY;
    case LSR:
        return LSR_EMPTY;
    case MSR:
        return MSR_READY;
    default:
        return uart[at];
    }
}

/* A fixed time, in binary and 24 hours; no update in progress. */
static uint8_t cmos(uint8_t index)
{
    static const uint8_t clock[] = { [0] = 0, [2] = 0, [4] = 12, [6] = 1, [7] = 1, [8] = 1, [9] = 26, [10] = 0x26, [11] = 6, [13] = 0x80 };
    return index < sizeof clock ? clock[index] : index == 0x32 ? 20 : 0;
}

static uint8_t in(uint16_t port)
{
    if (port >= UART && port < UART + 8)
        return uart_read(port - UART);
    return port == CMOS_DATA ? cmos(cmos_index) : 0xff;
}

/* Answers whether the guest goes on. */
static int out(uint16_t port, uint8_t value)
{
    if (port >= UART && port < UART + 8)
        uart_write(port - UART, value);
    else if (port == CMOS_INDEX)
        cmos_index = value & 0x7f;
    return !(port == RESET_COMMAND && value == 0xfe);
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

static void run_guest(void)
{
    for (;;) {
        request(vcpu, "KVM_RUN", KVM_RUN, 0);
        exits++;
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            if (!port_exit())
                return;
            if (marker && !marker[matched])
                return;
            break;
        case KVM_EXIT_MMIO:
            if (!run->mmio.is_write)
                memset(run->mmio.data, 0xff, run->mmio.len);
            break;
        case KVM_EXIT_X86_RDMSR:
            run->msr.data = 0;
            break;
        case KVM_EXIT_X86_WRMSR:
            break;
        case KVM_EXIT_HLT:
            return;
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
    sigaddset(&kick, SIGURG);
    sigprocmask(SIG_BLOCK, &kick, 0);
    struct {
        struct kvm_signal_mask head;
        uint8_t set[8];
    } mask = { .head.len = 8 };
    uint64_t all_others = ~(1ull << (SIGURG - 1));
    memcpy(mask.head.sigset, &all_others, sizeof all_others);
    request(vcpu, "KVM_SET_SIGNAL_MASK", KVM_SET_SIGNAL_MASK, &mask);
}

int main(int count, char **arguments)
{
    if (count < 2)
        return 2;
    marker = count > 2 ? arguments[2] : 0;
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

    uint64_t start = now();
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        fail("/dev/kvm");
    vm = request(kvm, "KVM_CREATE_VM", KVM_CREATE_VM, 0);
    ioctl(vm, KVM_SET_TSS_ADDR, 0xfeffd000ul);
    /* With them HLT stays in the kernel: the loops of a few instructions end by it, and do without. */
    if (marker) {
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
    /* What the guest's CPU has and KVM does not know on this host, such as IA32_PRED_CMD: reads 0, takes everything. */
    struct kvm_enable_cap msrs = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN } };
    request(vm, "KVM_ENABLE_CAP", KVM_ENABLE_CAP, &msrs);
    vcpu = request(vm, "KVM_CREATE_VCPU", KVM_CREATE_VCPU, 0);
    int run_bytes = request(kvm, "KVM_GET_VCPU_MMAP_SIZE", KVM_GET_VCPU_MMAP_SIZE, 0);
    run = mmap(0, run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        fail("mmap");
    request(vcpu, "KVM_SET_CPUID2", KVM_SET_CPUID2, cpuid);
    request(vcpu, "KVM_SET_SREGS", KVM_SET_SREGS, &sregs);
    request(vcpu, "KVM_SET_REGS", KVM_SET_REGS, &regs);
    admit_kicks();
    uint64_t ready = now();
    run_guest();
    uint64_t end = now();
    if (marker && marker[matched]) {
        fprintf(stderr, "the guest ended before it said \"%s\"\n", marker);
        return 1;
    }
    printf("{\"setUpNs\":%llu,\"runNs\":%llu,\"exits\":%llu}\n", (unsigned long long)(ready - start),
           (unsigned long long)(end - ready), (unsigned long long)exits);
    return 0;
}
