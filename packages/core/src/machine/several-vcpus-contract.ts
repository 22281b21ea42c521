/**
 * What a machine with several vCPUs does on any engine, in wall time, as checks that any test runner can run (guests:
 * several-vcpus-guest.ts). `from` and `to` may be engines of different kinds: saved on one, restored on the other.
 */
import type { EngineCheck, EngineFactory } from "../engine/contract-guest.ts";
import type { Ram } from "../memory/ram.ts";
import { toHex } from "../state/sha256.ts";
import { createBoard } from "./board.ts";
import type { ContractHost } from "./guest-contract.ts";
import { Machine } from "./machine.ts";
import { restoreSections, saveSections } from "./machine-state.ts";
import {
  COUNTER,
  CRASHING,
  counting,
  MEMORY_BYTES,
  PATCHED,
  ROUNDS,
  STOPPED,
  vcpusKernel,
  WAKING,
} from "./several-vcpus-guest.ts";
import { machineSpec } from "./spec.ts";

const LIMIT_NS = 60e9;
/** The first states are of a moment when not all have started. An engine may have done everything by the last one. */
const SAVED_AFTER_SLICES = [0, 1, 3];
const SLICE_NS = 20_000;

export function severalVcpusContract(host: ContractHost): EngineCheck[] {
  return [
    ...[2, 4, 8].map((cpus) => ({
      name: `${cpus} vCPUs start by INIT and start-up, and no locked addition of theirs is lost`,
      run: () => checkCounting(host, cpus),
    })),
    { name: "interrupts and NMIs from one vCPU wake another", run: () => checkWaking(host) },
    { name: "INIT stops a vCPU, which waits for the next start-up", run: () => checkInit(host) },
    {
      name: "code that one vCPU changes, another runs as it is now",
      run: () => withGuest(host.from, host, PATCHED, 2, (machine) => runToOff(machine, host)),
    },
    { name: "a triple fault of any vCPU is a crash, and the report says whose", run: () => checkCrash(host) },
    {
      name: "several vCPUs, saved at any moment and restored, have the same hash and run on to their end",
      run: () => checkRestore(host),
    },
  ];
}

function machineOn(create: EngineFactory, host: ContractHost, code: Uint8Array, cpus: number) {
  const kernel = vcpusKernel(code);
  const { tscFrequencyHz } = host;
  const spec = machineSpec({
    memoryBytes: MEMORY_BYTES,
    cpus,
    clock: "wall",
    seed: "01",
    boot: { kernel: { sha256: "00".repeat(32), sizeBytes: kernel.length }, commandLine: "" },
    ...(tscFrequencyHz !== undefined && { tscFrequencyHz }),
  });
  const { engine, close } = create({ memoryBytes: MEMORY_BYTES, cpus });
  const machine = new Machine({
    spec,
    memory: engine.memory as Ram,
    engine,
    createBoard: (wiring) => createBoard(wiring, { kernel }),
    output: () => {},
    wallNs: host.wallNs,
    sliceNs: SLICE_NS,
  });
  return { machine, close: close ?? (() => {}) };
}

function withGuest(
  create: EngineFactory,
  host: ContractHost,
  code: Uint8Array,
  cpus: number,
  use: (machine: Machine) => void,
): void {
  const { machine, close } = machineOn(create, host, code, cpus);
  try {
    use(machine);
  } finally {
    close();
  }
}

function require(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

function runToEnd(machine: Machine, { wallNs }: ContractHost): void {
  if (machine.state === "created") machine.start();
  const limit = wallNs() + LIMIT_NS;
  while (machine.runSlice().kind !== "stopped")
    if (wallNs() > limit) {
      const at = machine.vcpus.map((vcpu) => vcpu.getState().rip.toString(16)).join(", ");
      throw new Error(`the guest takes too long, vCPU ${machine.processors.current} has the turn, at ${at}`);
    }
}

function runToOff(machine: Machine, host: ContractHost): void {
  runToEnd(machine, host);
  require(machine.state === "off", `the machine is ${machine.state}: ${machine.crash?.reason}`);
}

function checkCounting(host: ContractHost, cpus: number): void {
  withGuest(host.from, host, counting(cpus), cpus, (machine) => {
    runToOff(machine, host);
    requireCounted(machine, cpus);
    // In parallel, time goes by the first one's count.
    if (machine.engine.parallel) return;
    const sum = machine.vcpus.reduce((all, { retired }) => all + retired, 0);
    require(machine.retired === sum, `the machine counts ${machine.retired}, its vCPUs ${sum}`);
    for (const { retired } of machine.vcpus) require(retired > 0, "a vCPU has counted nothing");
  });
}

function requireCounted(machine: Machine, cpus: number): void {
  const count = machine.memory.read32(COUNTER);
  require(count === cpus * ROUNDS, `${cpus} vCPUs counted to ${count}, not to ${cpus * ROUNDS}`);
}

function checkWaking(host: ContractHost): void {
  withGuest(host.from, host, WAKING, 2, (machine) => {
    runToOff(machine, host);
    const counts = [machine.memory.read32(COUNTER + 12), machine.memory.read32(COUNTER + 16)];
    require(counts.join() === "1,1", `interrupts and NMIs: ${counts.join()}`);
  });
}

function checkInit(host: ContractHost): void {
  withGuest(host.from, host, STOPPED, 2, (machine) => {
    runToOff(machine, host);
    require(machine.processors.save().waiting.join() === "false,true", "the second one does not wait");
    const { cs } = machine.vcpus[1]!.getState();
    require(cs.selector === 0xf000, `the second one's CS is ${cs.selector.toString(16)}`);
  });
}

function checkCrash(host: ContractHost): void {
  withGuest(host.from, host, CRASHING, 2, (machine) => {
    runToEnd(machine, host);
    const { crash } = machine;
    require(crash?.code === "triple-fault" && crash.index === 1, `the crash is ${crash?.code} of ${crash?.index}`);
    require(crash.others?.map(({ index }) => index).join() === "0", "the other one is not in the report");
  });
}

function checkRestore(host: ContractHost): void {
  for (const slices of SAVED_AFTER_SLICES)
    withGuest(host.from, host, counting(3), 3, (machine) => {
      machine.start();
      for (let i = 0; i < slices; i++) machine.runSlice();
      if (machine.state === "off") return requireCounted(machine, 3);
      machine.pause();
      const sections = saveSections(machine);
      const hash = toHex(machine.stateHash());
      withGuest(host.to ?? host.from, host, counting(3), 3, (restored) => {
        for (const { start, bytes } of machine.memory.regions) restored.memory.write(start, bytes);
        restoreSections(restored, sections);
        require(toHex(restored.stateHash()) === hash, `after ${slices} slices the restored machine has another hash`);
        restored.resume();
        runToOff(restored, host);
        requireCounted(restored, 3);
      });
    });
}
