/**
 * Registers of the local APIC (Intel SDM vol. 3, 11.4.1, 11.12.1 and tables 11-1 and 11-6): offsets, bits, and who may do
 * what with them. In x2APIC mode the register at offset 0xNN0 is MSR 0x8NN.
 *
 * Left out: the entry for corrected machine checks (CMCI), which CPUID and IA32_MCG_CAP do not announce either.
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

/** Version 0x14, six local vector table entries, suppression of EOI broadcasts. */
export const VERSION = 0x0105_0014;
/** Vectors 0 to 15 are exceptions; the APIC carries none of them. */
export const FIRST_LEGAL_VECTOR = 16;

export const SVR = {
  VECTOR: 0xff,
  ENABLE: 0x100,
  FOCUS_DISABLE: 0x200,
  SUPPRESS_EOI_BROADCAST: 0x1000,
  WRITABLE: 0x13ff,
} as const;

/** The errors of processors with a system bus; bits 0 to 3 are those of the serial APIC bus. */
export const ESR = {
  REDIRECTABLE_IPI: 0x10,
  SEND_ILLEGAL_VECTOR: 0x20,
  RECEIVE_ILLEGAL_VECTOR: 0x40,
  ILLEGAL_REGISTER: 0x80,
} as const;

export const ICR = {
  VECTOR: 0xff,
  DELIVERY_MODE: 0x700,
  LOGICAL: 0x800,
  DELIVERY_STATUS: 0x1000,
  ASSERT: 0x4000,
  LEVEL_TRIGGERED: 0x8000,
  SHORTHAND: 0xc_0000,
  /** Everything but the read-only delivery status, which is always idle. */
  WRITABLE: 0xc_cfff,
} as const;

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

/** Bits 0, 1 and 3. */
export const DIVIDE_WRITABLE = 0b1011;

/** What RDMSR and WRMSR may do with a register in x2APIC mode. Everything else is #GP(0). */
export interface MsrAccess {
  readonly isReadable: boolean;
  /** The bits that a write may set; undefined: no write. */
  readonly writable: bigint | undefined;
}

const readOnly: MsrAccess = { isReadable: true, writable: undefined };
const readWrite = (writable: number): MsrAccess => ({ isReadable: true, writable: BigInt(writable) });
const writeOnly = (writable: number): MsrAccess => ({ isReadable: false, writable: BigInt(writable) });

const setOf256Bits = (first: number): [number, MsrAccess][] =>
  Array.from({ length: 8 }, (_, word) => [first + word * 16, readOnly]);

/**
 * Table 11-6, by offset. DFR, APR and RRD are gone, ICR_HIGH is the upper half of ICR_LOW. Bit 12 of ICR was the
 * delivery status; processors ignore it.
 */
export const X2APIC_ACCESS: ReadonlyMap<number, MsrAccess> = new Map([
  [REGISTER.ID, readOnly],
  [REGISTER.VERSION, readOnly],
  [REGISTER.TPR, readWrite(0xff)],
  [REGISTER.PPR, readOnly],
  [REGISTER.EOI, writeOnly(0)],
  [REGISTER.LDR, readOnly],
  [REGISTER.SVR, readWrite(SVR.WRITABLE)],
  ...setOf256Bits(REGISTER.ISR),
  ...setOf256Bits(REGISTER.TMR),
  ...setOf256Bits(REGISTER.IRR),
  [REGISTER.ESR, readWrite(0)],
  [
    REGISTER.ICR_LOW,
    { isReadable: true, writable: 0xffff_ffff_0000_0000n | BigInt(ICR.WRITABLE | ICR.DELIVERY_STATUS) },
  ],
  ...LVT_ENTRIES.map(({ offset, writable }): [number, MsrAccess] => [offset, readWrite(writable | LVT.READ_ONLY)]),
  [REGISTER.TIMER_INITIAL, readWrite(0xffff_ffff)],
  [REGISTER.TIMER_CURRENT, readOnly],
  [REGISTER.TIMER_DIVIDE, readWrite(DIVIDE_WRITABLE)],
  [REGISTER.SELF_IPI, writeOnly(0xff)],
]);

/** Offsets that xAPIC mode does not reserve (table 11-1); any other sets ESR.ILLEGAL_REGISTER. */
export const XAPIC_OFFSETS: ReadonlySet<number> = new Set([
  ...[...X2APIC_ACCESS.keys()].filter((offset) => offset !== REGISTER.SELF_IPI),
  REGISTER.APR,
  REGISTER.RRD,
  REGISTER.DFR,
  REGISTER.ICR_HIGH,
]);
