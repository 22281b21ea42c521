/** Local APICs on a bus, for tests: what they do to their vCPUs is noted as words. */
import { FakeContext } from "../fake-context.ts";
import { ApicSystemBus } from "./apic-bus.ts";
import { createLocalApic, type LocalApic, type LocalApicOptions } from "./local-apic.ts";

export const TSC_GHZ = 3;
const tsc = { tscFrequencyHz: TSC_GHZ * 1e9, tscToNs: (count: bigint) => Math.ceil(Number(count) / TSC_GHZ) };

export const BASE = { XAPIC: 0xfee0_0800n, X2APIC: 0xfee0_0c00n, OFF: 0xfee0_0000n, BSP: 0x100n } as const;

export interface TestApic {
  readonly apic: LocalApic;
  readonly events: string[];
  read(offset: number): number;
  write(offset: number, value: number): void;
}

export function createApic(
  context: FakeContext,
  bus: ApicSystemBus,
  id = 0,
  options: Partial<LocalApicOptions> = {},
): TestApic {
  const events: string[] = [];
  const apic = createLocalApic(context, {
    id,
    isBootstrapProcessor: id === 0,
    bus,
    tsc,
    physicalAddressBits: 40,
    hasX2apic: true,
    cpu: {
      requestInterrupt: (pending) => events.push(pending ? "pending" : "idle"),
      taskPriority: (cr8) => events.push(`cr8 ${cr8}`),
      nmi: () => events.push("nmi"),
      init: () => events.push("init"),
      startup: (vector) => events.push(`startup ${vector}`),
    },
    ...options,
  });
  bus.attach(apic);
  const read = (offset: number) => apic.registers.read(offset, 4);
  const write = (offset: number, value: number) => apic.registers.write(offset, 4, value);
  return { apic, events, read, write };
}

/** One APIC, enabled by software. */
export function setUpApic(options: Partial<LocalApicOptions> = {}) {
  const context = new FakeContext();
  const bus = new ApicSystemBus();
  const first = createApic(context, bus, 0, options);
  first.write(0xf0, 0x1ff);
  return { context, bus, ...first };
}

/** APICs with these identifiers, enabled by software, in xAPIC or x2APIC mode. */
export function setUpApics(ids: readonly number[], mode: "xapic" | "x2apic" = "xapic") {
  const context = new FakeContext();
  const bus = new ApicSystemBus();
  const apics = ids.map((id) => createApic(context, bus, id));
  for (const { apic, write } of apics) {
    write(0xf0, 0x1ff);
    if (mode === "x2apic") apic.writeMsr(0x1b, apic.readMsr(0x1b)! | 0x400n);
  }
  /** Who has an interrupt, by identifier: its vector. Ends it. */
  const taken = (): Record<number, number> =>
    Object.fromEntries(
      apics.flatMap(({ apic, write }, i) => {
        if (!apic.isPending) return [];
        const vector = apic.acknowledge();
        if (mode === "x2apic") apic.writeMsr(0x80b, 0n);
        else write(0xb0, 0);
        return [[ids[i]!, vector]];
      }),
    );
  return { context, bus, apics, taken };
}

export function fixed(vector: number, isLevelTriggered = false) {
  return { destination: 0, isLogical: false, deliveryMode: 0, vector, isLevelTriggered };
}
