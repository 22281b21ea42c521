/** For tests: guests on several vCPUs, which the first one starts: they count together, wake each other, change each other's code. */
import { testKernel } from "./test-kernel.ts";

export const MEMORY_BYTES = 16 << 20;
export const ROUNDS = 20_000;
export const COUNTER = 0x9_0000;

const hex = (...lines: string[]): number[] =>
  (lines.join("").match(/[0-9a-f]{2}/g) ?? []).map((byte) => Number.parseInt(byte, 16));
const le = (value: number, bytes: number): string =>
  Array.from({ length: bytes }, (_, i) => (Math.floor(value / 256 ** i) % 256).toString(16).padStart(2, "0")).join("");

/** From 0x80000 on, for start-up vector 0x80. cs: 0x8000, ds: 0x9000, where COUNTER is [0], the number done [8]. */
const TRAMPOLINE = 0x8_0000;
const POWER_OFF = "66ba0406 66b8003c 66ef f4 ebfd";
/** INIT and start-up to all others; ebx is the local APIC. */
const START_OTHERS = `bb0000e0fe c78300030000${le(0xc4500, 4)} c78300030000${le(0xc4680, 4)}`;
/** pause; cmp dword [COUNTER + offset], value; jne */
const waitFor = (offset: number, value: number): string => `f390 833c25${le(COUNTER + offset, 4)}${le(value, 1)} 75f4`;
const waitForDone = (count: number): string => waitFor(8, count);
const command = (icr: number, destination = 0): string =>
  `c78310030000${le(destination * 2 ** 24, 4)} c78300030000${le(icr, 4)}`;

/** Puts real-mode code at the trampoline: rep movsb from behind the boot code. */
function guestCode(boot: string, others: string): Uint8Array {
  const other = hex(others);
  // lea rsi, [rip + rest]; mov edi, TRAMPOLINE; mov ecx, n; rep movsb
  const rest = hex(boot);
  const copy = hex(`488d35${le(12 + rest.length, 4)} bf${le(TRAMPOLINE, 4)} b9${le(other.length, 4)} f3a4`);
  return Uint8Array.from([...copy, ...rest, ...other]);
}

const IN_DATA = "b80090 8ed8";
/** lock inc dword [0], ROUNDS times; lock inc dword [8]; hlt for ever. */
const COUNTING = `${IN_DATA} b9${le(ROUNDS, 2)} f066ff060000 e2f8 f066ff060800 f4 ebfd`;
/** Each counts ROUNDS at COUNTER, and the machine turns off when all have. */
export const counting = (cpus: number): Uint8Array =>
  guestCode(
    `${START_OTHERS} b9${le(ROUNDS, 4)} f0ff0425${le(COUNTER, 4)} ffc9 75f4 ${waitForDone(cpus - 1)} ${POWER_OFF}`,
    COUNTING,
  );

/** Two handlers, of vector 0x40 with an EOI and of NMI, which count at [12] and [16]. */
const HANDLERS = `6650 6651 6652 66b90b080000 6631c0 6631d2 0f30 66ff060c00 665a 6659 6658 cf 66ff061000 cf`;
/** x2APIC mode, enabled; then it halts for an interrupt, and for an NMI with interrupts off. */
const WOKEN = `eb26 ${HANDLERS} ${IN_DATA} 66b91b000000 0f32 660d00040000 0f30 66b90f080000 66b8ff010000 6631d2 0f30
  f066ff060800 fb f4 fa f066ff060800 f4 f066ff060800 f4 ebfd`;
export const WAKING = guestCode(
  `c7042500010000${le(0x8000_0002, 4)} c7042508000000${le(0x8000_0022, 4)} ${START_OTHERS}
   ${waitForDone(1)} ${command(0x4040, 1)} ${waitForDone(2)} ${command(0x4400, 1)} ${waitForDone(3)} ${POWER_OFF}`,
  WOKEN,
);

/** Counts for ever; after an INIT the counter stands still for a million rounds, or there is a ud2. */
export const STOPPED = guestCode(
  `${START_OTHERS} f390 833c25${le(COUNTER, 4)}00 74f4 ${command(0xc4500)} 8b0425${le(COUNTER, 4)}
   b940420f00 ffc9 75fc 3b0425${le(COUNTER, 4)} 7402 0f0b ${POWER_OFF}`,
  `${IN_DATA} f066ff060000 ebf8`,
);

/** Stores a constant at [20] for ever, which the first one changes in the code, 38 times; that it may write there it knows from before. */
const TOUCH = `c60425${le(TRAMPOLINE + 0x800, 4)}01`;
export const PATCHED = guestCode(
  `${TOUCH} ${TOUCH} ${TOUCH} ${START_OTHERS} ${waitFor(20, 1)} 41bc02000000
   44882425${le(TRAMPOLINE + 6, 4)} f390 44392425${le(COUNTER + 20, 4)} 75f4 41ffc4 4183fc28 75e3 ${POWER_OFF}`,
  `${IN_DATA} b80100 a31400 ebf8`,
);

/** lidt of zeros; ud2. */
export const CRASHING = guestCode(`${START_OTHERS} f390 ebfc`, `${IN_DATA} 0f011e2000 0f0b`);

/** Such a guest as a kernel to boot. */
export const vcpusKernel = (code: Uint8Array): Uint8Array => testKernel(code);
