/**
 * A guest cannot write below its RAM nor outside it, and cannot bring the host down: random code, page tables and
 * processor states in every mode, in batches that each begin with a fresh machine. After every case the walls are looked
 * at and the state goes through its saved form; a batch is repeated by its seed alone.
 */
import type { VcpuState } from "../../packages/core/src/cpu/state.ts";
import { JitEngine } from "../../packages/core/src/engine/jit-engine.ts";
import { type Core, createCore } from "../../packages/core/src/interp/core.ts";
import { vcpuFromState, vcpuToState } from "../../packages/core/src/state/vcpu-state.ts";
import { Random } from "../cpu/random.ts";
import { randomCode } from "./guest-code.ts";
import { fillMemory, GUEST_MODES, RAM_BYTES, ROM_BYTES, randomState } from "./guest-state.ts";
import { Walls } from "./walls.ts";

const CASES_PER_BATCH = 200;
/** Of one case. */
const INSTRUCTIONS = 1000;
const LONGEST_RUN_MS = 5000;

export interface Ending {
  readonly instructions: number;
  readonly cases: number;
  /** How often `run` answered with what. */
  readonly exits: Readonly<Record<string, number>>;
  /** Instructions by mode that a case began in. */
  readonly byMode: Readonly<Record<string, number>>;
}

/** Runs batches until so many instructions have retired. Throws with the batch's seed and case. */
export function fuzzIsolation(seed: string, instructions: number): Ending {
  const totals = {
    instructions: 0,
    cases: 0,
    exits: {} as Record<string, number>,
    byMode: {} as Record<string, number>,
  };
  for (let batch = 0; totals.instructions < instructions; batch++) runBatch(`${seed}/${batch}`, totals);
  return totals;
}

/** One batch, for repeating. */
export function repeatBatch(batchSeed: string): Ending {
  const totals = { instructions: 0, cases: 0, exits: {}, byMode: {} };
  runBatch(batchSeed, totals);
  return totals;
}

function runBatch(
  batchSeed: string,
  totals: { instructions: number; cases: number; exits: Record<string, number>; byMode: Record<string, number> },
): void {
  const random = new Random(batchSeed);
  let core: Core | undefined;
  const engine = new JitEngine({
    memoryBytes: RAM_BYTES,
    tscFrequencyHz: 1e9,
    rom: randomCode(random, ROM_BYTES),
    sharedMemory: false,
    createCore: (...given) => {
      core = createCore(...given);
      return core;
    },
  });
  const vcpu = engine.createVcpu(0, {
    readPort: () => random.uint32(),
    writePort: () => {
      if (random.oneIn(8)) vcpu.kick();
    },
    readMmio: () => random.uint32(),
    writeMmio: () => {
      if (random.oneIn(8)) vcpu.requestInterrupt(true);
    },
    readMsr: () => (random.oneIn(2) ? random.uint64() : undefined),
    writeMsr: () => random.oneIn(2),
    readTsc: (retired) => BigInt(retired),
    randomBits: () => random.uint64(),
  });
  const walls = new Walls(core!);
  fillMemory(random, engine.memory);
  const fresh = vcpu.getState();
  for (let number = 0; number < CASES_PER_BATCH; number++) {
    const mode = GUEST_MODES[number % GUEST_MODES.length]!;
    const fail = (what: string): never => {
      throw new Error(
        `batch "${batchSeed}", case ${number} (${mode}): ${what}. Again: TWINMETAL_FUZZ_BATCH="${batchSeed}"`,
      );
    };
    if (number % 50 === 49) fillMemory(random, engine.memory);
    const state = randomState(random, mode, fresh);
    vcpu.setState(state);
    const first = vcpu.retired;
    try {
      for (let left = INSTRUCTIONS; left > 0; ) {
        const start = performance.now();
        const { reason } = vcpu.run(random.oneIn(4) ? 1 + random.below(left) : left);
        if (performance.now() - start > LONGEST_RUN_MS)
          fail(`one run took ${Math.round(performance.now() - start)} ms`);
        totals.exits[reason] = (totals.exits[reason] ?? 0) + 1;
        left = INSTRUCTIONS - (vcpu.retired - first);
        if (left < 0) fail(`${-left} instructions too many`);
        if (reason === "interrupt-window") {
          vcpu.interrupt(random.below(256));
          vcpu.requestInterrupt(false);
        } else if (reason === "halt" || reason === "shutdown" || (reason === "kick" && random.oneIn(8))) break;
      }
    } catch (error) {
      fail(`host exception: ${(error as Error).stack ?? String(error)}`);
    }
    const done = vcpu.retired - first;
    totals.instructions += done;
    totals.cases++;
    totals.byMode[mode] = (totals.byMode[mode] ?? 0) + done;
    const broken = walls.broken(number === CASES_PER_BATCH - 1);
    if (broken) fail(broken);
    const survives = roundTrip(
      vcpu.getState(),
      (next) => vcpu.setState(next),
      () => vcpu.getState(),
    );
    if (survives) fail(survives);
  }
}

/** What of the state does not survive saving and setting it, or undefined. */
function roundTrip(state: VcpuState, set: (state: VcpuState) => void, get: () => VcpuState): string | undefined {
  const read = vcpuFromState(vcpuToState(state), "vcpu0");
  set(read);
  const after = get();
  for (const key of Object.keys(state) as (keyof VcpuState)[]) {
    const [left, right] = [print(state[key]), print(after[key])];
    if (left !== right) return `${key} is ${right} after a restore, was ${left}`;
  }
  return undefined;
}

const print = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `0x${v.toString(16)}` : v));
