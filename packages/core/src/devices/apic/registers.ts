/**
 * Register offsets and bits of the local APIC as the Intel SDM, vol. 3, chapter 11 names them. In x2APIC mode the
 * register at offset 0xNN0 is MSR 0x8NN.
 */
export const REGISTER = {
  ID: 0x20,
  VERSION: 0x30,
  TPR: 0x80,
  APR: 0x90,
  PPR: 0xa0,
  EOI: 0xb0,
  RRD: 0xc0,
  LDR: 0xd0,
  DFR: 0xe0,
  SVR: 0xf0,
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  LVT_TIMER: 0x320,
  LVT_THERMAL: 0x330,
  LVT_PERFORMANCE: 0x340,
  LVT_LINT0: 0x350,
  LVT_LINT1: 0x360,
  LVT_ERROR: 0x370,
  TIMER_INITIAL: 0x380,
  TIMER_CURRENT: 0x390,
  TIMER_DIVIDE: 0x3e0,
  SELF_IPI: 0x3f0,
} as const;

export const MSR = {
  IA32_APIC_BASE: 0x1b,
  IA32_TSC_DEADLINE: 0x6e0,
  X2APIC_FIRST: 0x800,
  X2APIC_LAST: 0x8ff,
} as const;

export const SVR = { VECTOR: 0xff, ENABLE: 0x100, FOCUS_DISABLE: 0x200 } as const;
export const ESR = { SEND_ILLEGAL_VECTOR: 0x20, RECEIVE_ILLEGAL_VECTOR: 0x40, ILLEGAL_REGISTER: 0x80 } as const;

export const LVT = {
  VECTOR: 0xff,
  DELIVERY_MODE: 0x700,
  REMOTE_IRR: 0x4000,
  /** Remote IRR and delivery status, which writes may contain. */
  READ_ONLY: 0x5000,
  LEVEL_TRIGGERED: 0x8000,
  MASKED: 0x1_0000,
  TIMER_PERIODIC: 0x2_0000,
  TIMER_TSC_DEADLINE: 0x4_0000,
} as const;

/** Local vector table entries in register order, with the bits that software may write. */
export const LVT_ENTRIES: readonly { readonly name: string; readonly offset: number; readonly writable: number }[] = [
  { name: "timer", offset: REGISTER.LVT_TIMER, writable: 0x7_00ff },
  { name: "thermal", offset: REGISTER.LVT_THERMAL, writable: 0x1_07ff },
  { name: "performance", offset: REGISTER.LVT_PERFORMANCE, writable: 0x1_07ff },
  { name: "lint0", offset: REGISTER.LVT_LINT0, writable: 0x1_a7ff },
  { name: "lint1", offset: REGISTER.LVT_LINT1, writable: 0x1_a7ff },
  { name: "error", offset: REGISTER.LVT_ERROR, writable: 0x1_00ff },
];
