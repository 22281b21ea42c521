/**
 * The kvm engine beside a minimal VMM in C on the same KVM, in alternation: what an exit costs, and Linux to its shell.
 * Both start from the same registers, CPUID, MSRs and memory, make the same system calls, and have interrupt controllers
 * and timer in their own process. The C program with KVM's controllers is measured for information.
 */
import { readFileSync } from "node:fs";
import { planLinuxBoot } from "@twinmetal/core";
import { createVm, ensureTinyImage } from "@twinmetal/host";
import { describe, expect, it } from "vitest";
import { KvmEngine } from "../../../packages/host/src/kvm/kvm-engine.ts";
import { realMode } from "../../../packages/host/src/kvm/small-guest.ts";
import { TSC_FREQUENCY_HZ, unusableFeatures } from "./engines.ts";
import {
  type ExitCounts,
  hasReferenceVmm,
  type ReferenceRun,
  runReference,
  writeReferenceGuest,
} from "./reference-vmm.ts";

const MINUTE_MS = 60_000;
/**
 * Slower than the C program by more than this is a failure. What is wanted is 1.2 (docs/kvm.md says what there is). An exit:
 * QEMU forgets all address translations and where its own code continues at each one, so that in here it costs what is
 * touched until the next entry, and a call of Node's and koffi's touches more than all of the C program. Linux: V8 compiles
 * what answers the exits on the one processor that the guest runs on.
 */
const LIMIT = { exit: 1.6, linux: 3 } as const;
const FILE = "/tmp/reference-guest";

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
const least = (values: readonly number[]): number => Math.min(...values);

describe.skipIf(!hasReferenceVmm)("an exit", () => {
  const EXITS = 5000;
  const ROUNDS = 7;
  const BUDGET_NS = 60e9;
  /** mov $EXITS,%ecx ; 1: INSTRUCTION ; dec %ecx ; jnz 1b ; hlt */
  const loop = (instruction: number[]): Uint8Array =>
    Uint8Array.of(
      ...[0xb9, EXITS & 0xff, EXITS >> 8, 0, 0],
      ...instruction,
      ...[0x49, 0x75, 0x100 - instruction.length - 3, 0xf4],
    );

  it.each<[name: string, instruction: number[]]>([
    ["out to a port", [0xe6, 0x80]],
    ["in from a port", [0xe4, 0x80]],
    ["a store to MMIO", [0xa3, 0, 0, 0, 0xd0]],
    ["a load from MMIO", [0xa1, 0, 0, 0, 0xd0]],
  ])("%s", { timeout: 5 * MINUTE_MS }, (name, instruction) => {
    const flat = { selector: 8, base: 0n, limit: 0xffff_ffff };
    const data = { ...flat, selector: 16, attributes: 0xc093 };
    const segments = { cs: { ...flat, attributes: 0xc09b }, ds: data, es: data, ss: data };
    const state = { ...realMode(0x1000), ...segments, cr0: 0x11n };
    const memoryBytes = 16 * 2 ** 20;
    const code = loop(instruction);
    writeReferenceGuest(FILE, { memoryBytes, cpuFeatures: [], state, writes: [{ gpa: 0x1000, bytes: code }] });
    const engine = new KvmEngine({ memoryBytes, tscFrequencyHz: TSC_FREQUENCY_HZ, isCpuChecked: false });
    try {
      let accesses = 0;
      const count = (): number => ++accesses;
      const vcpu = engine.createVcpu(0, {
        readPort: count,
        writePort: count,
        readMmio: count,
        writeMmio: count,
        readMsr: () => undefined,
        writeMsr: () => false,
        readTsc: (retired) => BigInt(retired),
        randomBits: () => 0n,
      });
      engine.memory.write(0x1000, code);
      const [ours, theirs]: [number[], number[]] = [[], []];
      for (let round = 0; round < ROUNDS; round++) {
        const reference = runReference(FILE);
        expect([reference.exits.port + reference.exits.mmio, reference.exits.halt]).toEqual([EXITS, 1]);
        theirs.push(reference.runNs / EXITS);
        vcpu.setState(state);
        accesses = 0;
        const startMs = performance.now();
        let exit = vcpu.run(BUDGET_NS);
        while (exit.reason === "budget") exit = vcpu.run(BUDGET_NS);
        ours.push(((performance.now() - startMs) * 1e6) / EXITS);
        expect([exit.reason, accesses]).toEqual(["halt", EXITS]);
      }
      const ratio = report(name, "us", 1e-3, ours, theirs);
      expect(ratio).toBeLessThan(LIMIT.exit);
    } finally {
      engine.close();
    }
  });
});

describe.skipIf(!hasReferenceVmm)("Linux", () => {
  const ROUNDS = 3;
  const MARKER = "Twinmetal: Debian's kernel";
  const append = "acpi=off pci=off quiet";
  const cpuFeatures = unusableFeatures();

  it("to its shell", { timeout: 15 * MINUTE_MS }, async () => {
    const memoryBytes = 256 * 2 ** 20;
    const { kernelPath, initrdPath } = await ensureTinyImage();
    const [kernel, initrd] = [readFileSync(kernelPath), readFileSync(initrdPath)];
    const ram = { lowRamBytes: memoryBytes };
    const plan = planLinuxBoot({ kernel, initrd, commandLine: `console=ttyS0 ${append}`, ram });
    const files = plan.copies.map(({ gpa, file, start, length }) => ({
      gpa,
      bytes: (file as Uint8Array).subarray(start, start + length),
    }));
    writeReferenceGuest(FILE, { memoryBytes, cpuFeatures, state: plan.state, writes: [...plan.writes, ...files] });
    const [ours, theirs, kernels]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < ROUNDS; round++) {
      const reference = runReference(FILE, MARKER);
      theirs.push(reference.runNs);
      const withKernels = runReference(FILE, MARKER, "kernel");
      kernels.push(withKernels.runNs);
      const vm = await createVm({ engine: "kvm", memoryBytes, cpuFeatures, append });
      try {
        const startMs = performance.now();
        await vm.start();
        await vm.serial.waitFor(MARKER);
        const runNs = (performance.now() - startMs) * 1e6;
        ours.push(runNs);
        const run = { runNs, ...countsOf(await vm.stats()) };
        process.stdout.write(`boot ${round}: ${boot("kvm engine", run)}; ${boot("C", reference)}\n`);
        process.stdout.write(`  with KVM's controllers: ${boot("C", withKernels)}\n`);
      } finally {
        await vm.close();
      }
    }
    report("Linux beside C with KVM's own controllers, for information", "ms", 1e-6, ours, kernels);
    const ratio = report("Linux", "ms", 1e-6, ours, theirs);
    expect(ratio).toBeLessThan(LIMIT.linux);
  });
});

type Boot = Omit<ReferenceRun, "setUpNs">;

function countsOf(stats: Readonly<Record<string, number>>): Omit<Boot, "runNs"> {
  const kinds = ["port", "mmio", "msr", "halt", "window", "signal"] as const;
  const exits = Object.fromEntries(kinds.map((kind) => [kind, stats[`${kind}Exits`]!])) as unknown as ExitCounts;
  return { exits, interrupts: stats["interruptsInjected"]! };
}

function boot(name: string, { runNs, exits, interrupts }: Boot): string {
  const counts = Object.entries(exits).map(([kind, count]) => `${kind} ${count}`);
  return `${name} ${Math.round(runNs / 1e6)} ms, exits: ${counts.join(", ")}; interrupts ${interrupts}`;
}

/** Answers how much slower than the C program, by medians. */
function report(name: string, unit: string, scale: number, ours: readonly number[], theirs: readonly number[]): number {
  const ratio = median(ours) / median(theirs);
  const shown = (values: readonly number[]): string =>
    `median ${(median(values) * scale).toFixed(1)}, least ${(least(values) * scale).toFixed(1)} ${unit}`;
  process.stdout.write(`${name}: kvm engine ${shown(ours)}; C ${shown(theirs)}; ratio ${ratio.toFixed(3)}\n`);
  return ratio;
}
