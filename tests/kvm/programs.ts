/**
 * What runs in the nested guest, in this order. "short" programs are CI's; the others join with --long. A limit is for
 * a program alone on two busy CPUs, under TCG; it is enforced in the guest and once more outside.
 */

export interface TestProgram {
  readonly name: string;
  /** Relative to this folder. */
  readonly file: string;
  readonly what: string;
  readonly limitSeconds: number;
  readonly form: "short" | "long";
}

export const PROGRAMS: readonly TestProgram[] = [
  {
    name: "proof",
    file: "guest/proof.ts",
    what: "Node opens /dev/kvm through koffi and runs sixteen-bit code up to an OUT and a HLT",
    limitSeconds: 60,
    form: "short",
  },
  {
    name: "engine",
    file: "../../packages/host/src/kvm/kvm-engine.test.ts",
    what: "the kvm engine with guests of a few instructions: exits, interrupts, state, dirty pages, time",
    limitSeconds: 60,
    form: "short",
  },
  {
    name: "linux",
    file: "guest/linux.ts",
    what: "Linux on the kvm engine: boot, commands, save and restore across engines, no descriptor left behind",
    limitSeconds: 900,
    form: "long",
  },
];
