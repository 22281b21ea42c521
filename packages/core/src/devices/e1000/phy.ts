/**
 * The 82540EM's internal PHY (IEEE 802.3, clause 22, and the M88E1000 family's own registers 16 to 20): a link at 1000 Mb/s
 * that is negotiated at once. Left out: everything that needs a cable's physics.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";

const COUNT = 32;
const PHY = {
  CONTROL: 0,
  STATUS: 1,
  ID1: 2,
  ID2: 3,
  ADVERTISED: 4,
  PARTNER: 5,
  T1000_CONTROL: 9,
  T1000_STATUS: 10,
  PSCR: 16,
  PSSR: 17,
  EPSCR: 20,
} as const;
const CONTROL = { RESET: 0x8000, RESTART: 0x0200 } as const;
const STATUS = { LINK: 0x0004, DONE: 0x0020, CAPABLE: 0x7949 } as const;
const PARTNER = 0x45e1;
const T1000_PARTNER = 0x3c00;
/** 1000 Mb/s, full duplex, resolved, link. */
const PSSR_LINKED = 0xac00;
const INITIAL: ReadonlyMap<number, number> = new Map([
  [PHY.CONTROL, 0x1140],
  [PHY.ID1, 0x0141],
  [PHY.ID2, 0x0c20],
  [PHY.ADVERTISED, 0x01e1],
  [PHY.T1000_CONTROL, 0x0e00],
  [PHY.PSCR, 0x0360],
  [PHY.EPSCR, 0x0d60],
]);
const READ_ONLY: ReadonlySet<number> = new Set([PHY.STATUS, PHY.ID1, PHY.ID2, PHY.PARTNER, PHY.T1000_STATUS, PHY.PSSR]);

export class Phy {
  readonly #registers = new Uint16Array(COUNT);

  constructor() {
    this.reset();
  }

  reset(): void {
    for (let i = 0; i < COUNT; i++) this.#registers[i] = INITIAL.get(i) ?? 0;
  }

  read(register: number, isUp: boolean): number {
    switch (register) {
      case PHY.STATUS:
        return STATUS.CAPABLE | (isUp ? STATUS.LINK | STATUS.DONE : 0);
      case PHY.PARTNER:
        return isUp ? PARTNER : 0;
      case PHY.T1000_STATUS:
        return isUp ? T1000_PARTNER : 0;
      case PHY.PSSR:
        return isUp ? PSSR_LINKED : 0;
      default:
        return this.#registers[register] ?? 0;
    }
  }

  write(register: number, value: number): void {
    if (READ_ONLY.has(register) || register >= COUNT) return;
    if (register === PHY.CONTROL && value & CONTROL.RESET) this.reset();
    else this.#registers[register] = register === PHY.CONTROL ? value & ~CONTROL.RESTART : value;
  }

  save(): StateValue {
    return [...this.#registers];
  }

  /** Throws StateError; the caller then resets. */
  restore(reader: StateReader, key: string): void {
    for (const [i, value] of reader.ints(key, COUNT, 0, 0xffff).entries()) {
      if (READ_ONLY.has(i) && value !== (INITIAL.get(i) ?? 0)) throw reader.invalid(key, "has another PHY's identity");
      this.#registers[i] = value;
    }
  }
}
