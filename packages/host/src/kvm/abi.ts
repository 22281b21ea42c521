/**
 * The kernel's interface to KVM as data (Linux, Documentation/virt/kvm/api.rst): requests, capabilities, reasons of
 * exits, and for each structure one table of offsets, under the interface's names. x86-64, little-endian.
 */

const io = (number: number): number => 0xae00 | number;
const ior = (number: number, bytes: number): number => 0x8000_0000 + (bytes << 16) + io(number);
const iow = (number: number, bytes: number): number => 0x4000_0000 + (bytes << 16) + io(number);
const iowr = (number: number, bytes: number): number => 0xc000_0000 + (bytes << 16) + io(number);

export const KVM_API_VERSION = 12;

export const REGS_BYTES = 144;
export const SREGS_BYTES = 312;
export const SREGS2_BYTES = 320;
export const XSAVE_BYTES = 4096;
export const XCRS_BYTES = 392;
export const VCPU_EVENTS_BYTES = 64;
export const DEBUGREGS_BYTES = 128;
export const MSR_FILTER_BYTES = 392;
export const MEMORY_REGION_BYTES = 32;
export const DIRTY_LOG_BYTES = 16;
export const DEVICE_ATTR_BYTES = 24;
export const ENABLE_CAP_BYTES = 104;
export const TRANSLATION_BYTES = 24;
export const GUEST_DEBUG_BYTES = 72;

export const KVM = {
  GET_API_VERSION: io(0x00),
  CREATE_VM: io(0x01),
  CHECK_EXTENSION: io(0x03),
  GET_VCPU_MMAP_SIZE: io(0x04),
  GET_SUPPORTED_CPUID: iowr(0x05, 8),
  CREATE_VCPU: io(0x41),
  GET_DIRTY_LOG: iow(0x42, DIRTY_LOG_BYTES),
  SET_USER_MEMORY_REGION: iow(0x46, MEMORY_REGION_BYTES),
  SET_TSS_ADDR: io(0x47),
  SET_IDENTITY_MAP_ADDR: iow(0x48, 8),
  RUN: io(0x80),
  GET_REGS: ior(0x81, REGS_BYTES),
  SET_REGS: iow(0x82, REGS_BYTES),
  GET_SREGS: ior(0x83, SREGS_BYTES),
  SET_SREGS: iow(0x84, SREGS_BYTES),
  TRANSLATE: iowr(0x85, TRANSLATION_BYTES),
  INTERRUPT: iow(0x86, 4),
  GET_MSRS: iowr(0x88, 8),
  SET_MSRS: iow(0x89, 8),
  SET_SIGNAL_MASK: iow(0x8b, 4),
  SET_CPUID2: iow(0x90, 8),
  NMI: io(0x9a),
  SET_GUEST_DEBUG: iow(0x9b, GUEST_DEBUG_BYTES),
  GET_VCPU_EVENTS: ior(0x9f, VCPU_EVENTS_BYTES),
  SET_VCPU_EVENTS: iow(0xa0, VCPU_EVENTS_BYTES),
  GET_DEBUGREGS: ior(0xa1, DEBUGREGS_BYTES),
  SET_DEBUGREGS: iow(0xa2, DEBUGREGS_BYTES),
  SET_TSC_KHZ: io(0xa2),
  ENABLE_CAP: iow(0xa3, ENABLE_CAP_BYTES),
  GET_TSC_KHZ: io(0xa3),
  GET_XSAVE: ior(0xa4, XSAVE_BYTES),
  SET_XSAVE: iow(0xa5, XSAVE_BYTES),
  GET_XCRS: ior(0xa6, XCRS_BYTES),
  SET_XCRS: iow(0xa7, XCRS_BYTES),
  X86_SET_MSR_FILTER: iow(0xc6, MSR_FILTER_BYTES),
  GET_SREGS2: ior(0xcc, SREGS2_BYTES),
  SET_SREGS2: iow(0xcd, SREGS2_BYTES),
  SET_DEVICE_ATTR: iow(0xe1, DEVICE_ATTR_BYTES),
  GET_DEVICE_ATTR: iow(0xe2, DEVICE_ATTR_BYTES),
} as const;

export const CAP = {
  USER_MEMORY: 3,
  XSAVE: 55,
  XCRS: 56,
  VCPU_EVENTS: 41,
  DEBUGREGS: 50,
  TSC_CONTROL: 60,
  GET_TSC_KHZ: 61,
  READONLY_MEM: 81,
  SPLIT_IRQCHIP: 121,
  VCPU_ATTRIBUTES: 127,
  IMMEDIATE_EXIT: 136,
  X86_USER_SPACE_MSR: 188,
  X86_MSR_FILTER: 189,
  SREGS2: 200,
} as const;

/** What the engine cannot be without, and the kernel that brought it. */
export const NEEDED_CAPS: Readonly<Partial<Record<keyof typeof CAP, string>>> = {
  USER_MEMORY: "2.6.25",
  VCPU_EVENTS: "2.6.33",
  DEBUGREGS: "2.6.35",
  XSAVE: "2.6.36",
  XCRS: "2.6.36",
  GET_TSC_KHZ: "2.6.39",
  READONLY_MEM: "3.7",
  IMMEDIATE_EXIT: "4.11",
  X86_USER_SPACE_MSR: "5.10",
  X86_MSR_FILTER: "5.10",
  SREGS2: "5.14",
};

export const EXIT = {
  UNKNOWN: 0,
  EXCEPTION: 1,
  IO: 2,
  HYPERCALL: 3,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  SET_TPR: 11,
  INTERNAL_ERROR: 17,
  X86_RDMSR: 29,
  X86_WRMSR: 30,
} as const;

/** struct kvm_run */
export const RUN = {
  request_interrupt_window: 0,
  immediate_exit: 1,
  exit_reason: 8,
  ready_for_interrupt_injection: 12,
  if_flag: 13,
  cr8: 16,
  apic_base: 24,
  io_direction: 32,
  io_size: 33,
  io_port: 34,
  io_count: 36,
  io_data_offset: 40,
  mmio_phys_addr: 32,
  mmio_data: 40,
  mmio_len: 48,
  mmio_is_write: 52,
  hardware_entry_failure_reason: 32,
  internal_suberror: 32,
  internal_ndata: 36,
  internal_data: 40,
  /** With INTERNAL_FLAG_CODE in the first word. */
  internal_code_size: 48,
  internal_code: 49,
  msr_error: 32,
  msr_reason: 40,
  msr_index: 44,
  msr_data: 48,
  debug_exception: 32,
  debug_pc: 40,
  debug_dr6: 48,
} as const;
export const IO_DIRECTION_OUT = 1;
export const INTERNAL_NDATA_MAX = 16;
export const INTERNAL_FLAG_CODE = 1n;

/** struct kvm_regs, each a u64, in its order. */
export const REGS = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp"] as const;
export const REGS_R8 = 64;
export const REGS_RIP = 128;
export const REGS_RFLAGS = 136;

/** struct kvm_sregs2; struct kvm_sregs is the same up to `flags`. */
export const SREGS = {
  cs: 0,
  ds: 24,
  es: 48,
  fs: 72,
  gs: 96,
  ss: 120,
  tr: 144,
  ldt: 168,
  gdt: 192,
  idt: 208,
  cr0: 224,
  cr2: 232,
  cr3: 240,
  cr4: 248,
  cr8: 256,
  efer: 264,
  apic_base: 272,
  flags: 280,
  pdptrs: 288,
} as const;
export const SREGS2_FLAGS_PDPTRS_VALID = 1n;

/** struct kvm_segment */
export const SEGMENT = {
  base: 0,
  limit: 8,
  selector: 12,
  type: 14,
  present: 15,
  dpl: 16,
  db: 17,
  s: 18,
  l: 19,
  g: 20,
  avl: 21,
  unusable: 22,
} as const;

/** struct kvm_dtable */
export const DTABLE = { base: 0, limit: 8 } as const;

/** struct kvm_vcpu_events */
export const EVENTS = {
  exception_injected: 0,
  exception_pending: 3,
  interrupt_injected: 8,
  interrupt_shadow: 11,
  nmi_injected: 12,
  nmi_pending: 13,
  nmi_masked: 14,
  flags: 20,
} as const;
export const EVENTS_VALID_NMI_PENDING = 1;
export const EVENTS_VALID_SHADOW = 4;
export const SHADOW_INT_MOV_SS = 1;
export const SHADOW_INT_STI = 2;

/** struct kvm_guest_debug: DR0 to DR7 from `debugreg`; and the bits of `control`. */
export const GUEST_DEBUG = {
  control: 0,
  debugreg: 8,
  ENABLE: 1,
  SINGLESTEP: 2,
  USE_SW_BP: 0x1_0000,
  USE_HW_BP: 0x2_0000,
  INJECT_DB: 0x4_0000,
  INJECT_BP: 0x8_0000,
} as const;

/** struct kvm_translation */
export const TRANSLATION = { linear_address: 0, physical_address: 8, valid: 16 } as const;

/** struct kvm_debugregs */
export const DEBUGREGS = { db: 0, dr6: 32, dr7: 40 } as const;

/** struct kvm_xcrs, with one entry. */
export const XCRS = { nr_xcrs: 0, xcr: 8, value: 16 } as const;

/** struct kvm_xsave: the legacy area, then the header (SDM vol. 1, 13.4). */
export const XSAVE = { legacy: 0, xstate_bv: 512 } as const;

/** struct kvm_msrs: a count, then entries of 16 bytes. */
export const MSRS = { nmsrs: 0, entries: 8, entryBytes: 16, index: 0, data: 8 } as const;

/** struct kvm_cpuid2: a count, then entries of 40 bytes. */
export const CPUID2 = { nent: 0, entries: 8, entryBytes: 40 } as const;
export const CPUID_ENTRY = { function: 0, index: 4, flags: 8, eax: 12, ebx: 16, ecx: 20, edx: 24 } as const;
export const CPUID_FLAG_SIGNIFICANT_INDEX = 1;

/** struct kvm_userspace_memory_region */
export const MEMORY_REGION = { slot: 0, flags: 4, guest_phys_addr: 8, memory_size: 16, userspace_addr: 24 } as const;
export const MEM_LOG_DIRTY_PAGES = 1;
export const MEM_READONLY = 2;

/** struct kvm_dirty_log */
export const DIRTY_LOG = { slot: 0, dirty_bitmap: 8 } as const;

/** struct kvm_enable_cap */
export const ENABLE_CAP = { cap: 0, args: 8 } as const;
/** Of CAP.X86_USER_SPACE_MSR: invalid, unknown, filtered. */
export const MSR_EXIT_REASONS = 7n;

/** struct kvm_msr_filter and its ranges of 24 bytes. */
export const MSR_FILTER = { flags: 0, ranges: 8, rangeBytes: 24 } as const;
export const MSR_RANGE = { flags: 0, nmsrs: 4, base: 8, bitmap: 16 } as const;
export const MSR_FILTER_DEFAULT_DENY = 1;
export const MSR_FILTER_READ_WRITE = 3;

/** struct kvm_device_attr; of a vCPU: its TSC's offset. */
export const DEVICE_ATTR = { flags: 0, group: 4, attr: 8, addr: 16 } as const;
export const VCPU_TSC_CTRL = 0;
export const VCPU_TSC_OFFSET = 0;
