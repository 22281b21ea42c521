// Runs a ROM image on one tier of the CPU. Of a board there is the local APIC and port E9H, to which the ROMs print. Guest
// time goes on by a nanosecond with each instruction, in steps, and to the next timer while the processor is halted.

import { resetState } from "../../packages/core/src/cpu/reset-state.ts";
import { ApicSystemBus } from "../../packages/core/src/devices/apic/apic-bus.ts";
import { createLocalApic, LocalApic } from "../../packages/core/src/devices/apic/local-apic.ts";
import { type FakeClock, FakeContext } from "../../packages/core/src/devices/fake-context.ts";
import type { Vcpu } from "../../packages/core/src/engine/engine.ts";
import { JitEngine, type JitEngineOptions } from "../../packages/core/src/engine/jit-engine.ts";

const ROM_BYTES = 0x10000;
/** Where the image lies in RAM: the same code as at the top of 4 GiB. */
const ROM_AT = 0xf0000;
const MEMORY_BYTES = 32 << 20;
const DEBUG_PORT = 0xe9;
const TSC_HZ = 1e9;
const PHYSICAL_ADDRESS_BITS = 40;
/** CR8 as the engine's bus names it. */
const TASK_PRIORITY = 0xffff0008;
/** Instructions between two looks at the clock. */
const STEP = 2000;
/** The ROMs are short: more than this is a loop. */
const MOST_INSTRUCTIONS = 300_000;
const END = "END\n";

export interface RomRun {
  /** What was printed, line by line. */
  readonly lines: readonly string[];
  /** How it ended: at its last line, "shutdown" after a triple fault, "halted" with interrupts off, or never. */
  readonly end: "END" | "shutdown" | "halted" | "endless";
  readonly instructions: number;
}

/** Runs an image from its reset vector to its last line; `tier`: what the engine is made with. */
export function runRom(image: Uint8Array, tier: Partial<JitEngineOptions> = {}): RomRun {
  if (image.length !== ROM_BYTES) throw new RangeError(`an image of ${image.length} bytes`);
  const engine = new JitEngine({
    memoryBytes: MEMORY_BYTES,
    cpuFeatures: ["invpcid", "pcid", "smap", "umip"],
    tscFrequencyHz: TSC_HZ,
    sharedMemory: false,
    ...tier,
  });
  engine.memory.write(ROM_AT, image);
  let printed = "";
  const { apic, clock, connect } = localApic();
  const isApic = (gpa: number): boolean => apic.mmioBase !== undefined && (gpa & ~0xfff) === (apic.mmioBase | 0);
  const vcpu = engine.createVcpu(0, {
    readPort: () => 0xff,
    writePort: (port, _size, value) => {
      if (port !== DEBUG_PORT) return;
      printed += String.fromCharCode(value & 0xff);
      if (printed.endsWith(END)) vcpu.kick();
    },
    readMmio: (gpa, size) => (isApic(gpa) ? apic.registers.read(gpa & 0xfff, size) : 0xffffffff),
    writeMmio: (gpa, size, value) => {
      if (isApic(gpa)) apic.registers.write(gpa & 0xfff, size, value);
    },
    readMsr: (index) => (LocalApic.ownsMsr(index) ? apic.readMsr(index) : undefined),
    writeMsr: (index, value) => {
      if (index !== TASK_PRIORITY) return LocalApic.ownsMsr(index) && apic.writeMsr(index, value);
      apic.cr8 = Number(value & 0xfn);
      return true;
    },
    readTsc: (retired) => BigInt(retired),
    randomBits: () => 0n,
  });
  connect(vcpu);
  const reset = resetState(0);
  vcpu.setState({ ...reset, cs: { ...reset.cs, base: BigInt(ROM_AT) } });
  const run = (end: RomRun["end"]): RomRun => ({
    lines: printed.split("\n").slice(0, -1),
    end,
    instructions: vcpu.retired,
  });
  while (vcpu.retired < MOST_INSTRUCTIONS) {
    const before = vcpu.retired;
    const { reason } = vcpu.run(STEP);
    clock.advance(vcpu.retired - before);
    if (printed.endsWith(END)) return run("END");
    if (reason === "shutdown") return run(reason);
    if (reason === "interrupt-window") vcpu.interrupt(apic.acknowledge());
    if (reason === "halt") {
      const due = clock.nextDeadlineNs();
      if (due === undefined) return run("halted");
      clock.advance(Math.max(0, due - clock.nowNs()));
    }
  }
  return run("endless");
}

/** A local APIC and the clock of its timer; `connect` gives it the processor it interrupts. */
function localApic(): { apic: LocalApic; clock: FakeClock; connect(vcpu: Vcpu): void } {
  let vcpu: Vcpu | undefined;
  const context = new FakeContext();
  const bus = new ApicSystemBus();
  const apic = createLocalApic(context, {
    id: 0,
    isBootstrapProcessor: true,
    cpu: {
      requestInterrupt: (pending) => vcpu?.requestInterrupt(pending),
      taskPriority: (cr8) => vcpu?.setTaskPriority(cr8),
      nmi: () => vcpu?.nmi(),
      init: () => {},
      startup: () => {},
    },
    bus,
    tsc: { tscFrequencyHz: TSC_HZ, tscToNs: Number },
    physicalAddressBits: PHYSICAL_ADDRESS_BITS,
    hasX2apic: true,
  });
  bus.attach(apic);
  return {
    apic,
    clock: context.clock,
    connect: (processor) => {
      vcpu = processor;
    },
  };
}
