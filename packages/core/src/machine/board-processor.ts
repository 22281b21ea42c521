/**
 * What lies around one processor of the board: its local APIC with the page of registers, its time-stamp counter, and the
 * way from its accesses to the buses that all share. LINT0 of the first one is the 8259A pair's output; the others' is not
 * connected, as Linux and firmware leave it masked there.
 */
import type { AccessSize } from "../bus/io.ts";
import type { MmioBus, PortBus } from "../bus/io-bus.ts";
import type { ApicSystemBus } from "../devices/apic/apic-bus.ts";
import { createLocalApic, LocalApic } from "../devices/apic/local-apic.ts";
import type { CoprocessorError } from "../devices/coprocessor-error.ts";
import type { DeviceContext } from "../devices/device.ts";
import type { PicPair } from "../devices/pic.ts";
import type { ProcessorPins, ProcessorSide } from "./board-interface.ts";
import { MEMORY_MAP } from "./board-map.ts";
import type { GuestClock } from "./guest-clock.ts";
import { TimeStampCounter } from "./time-stamp-counter.ts";

/** What CPUID says of the processor, as far as the local APIC has to agree with it. */
export const PROCESSOR = { physicalAddressBits: 40, hasX2apic: true } as const;

/** The pseudo-MSR by which an engine tells of writes to CR8. */
const TASK_PRIORITY = 0xffff_0008;

export interface ProcessorParts {
  readonly index: number;
  readonly pins: ProcessorPins;
  readonly context: DeviceContext;
  readonly clock: GuestClock;
  readonly tscFrequencyHz: number;
  readonly apicBus: ApicSystemBus;
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  /** Of the first one. */
  readonly pic?: PicPair;
  readonly coprocessorError: () => CoprocessorError;
  readonly virtualWire: boolean;
}

export interface BoardProcessor extends ProcessorSide {
  readonly tsc: TimeStampCounter;
  readonly localApic: LocalApic;
  /** It stands as after power-on, and waits. Not of the first one. */
  takeOut(): void;
}

export function createProcessor(parts: ProcessorParts): BoardProcessor {
  const { index, pins, context, ports, mmio, apicBus, pic } = parts;
  const tsc = new TimeStampCounter(parts.clock, parts.tscFrequencyHz, () => localApic.tscChanged(), index);
  const localApic: LocalApic = createLocalApic(context, {
    id: index,
    isBootstrapProcessor: index === 0,
    cpu: {
      requestInterrupt: (pending) => pins.setInterrupt(pending),
      taskPriority: (cr8) => pins.setTaskPriority(cr8),
      nmi: () => pins.nmi(),
      init: () => {
        if (index > 0) localApic.initReset();
        pins.init();
      },
      startup: (vector) => pins.startup(vector),
    },
    bus: apicBus,
    tsc,
    ...(pic && { pic }),
    ...PROCESSOR,
    virtualWire: parts.virtualWire,
  });
  apicBus.attach(localApic);

  /** GUEST-CONTROLLED. The local APIC's page is the processor's own and wins over everything behind it. */
  const isLocalApic = (gpa: number): boolean => {
    const base = localApic.mmioBase;
    return base !== undefined && gpa >= base && gpa < base + MEMORY_MAP.localApicSizeBytes;
  };

  return {
    tsc,
    localApic,
    takeOut: () => {
      localApic.reset();
      pins.init();
    },
    acknowledgeInterrupt: () => localApic.acknowledge(),
    bus: {
      readPort: (port, size) => ports.read(port, size),
      writePort: (port, size, value) => ports.write(port, size, value),
      readMmio: (gpa: number, size: AccessSize) =>
        isLocalApic(gpa) ? localApic.registers.read(gpa % MEMORY_MAP.localApicSizeBytes, size) : mmio.read(gpa, size),
      writeMmio: (gpa: number, size: AccessSize, value: number) => {
        if (isLocalApic(gpa)) localApic.registers.write(gpa % MEMORY_MAP.localApicSizeBytes, size, value);
        else mmio.write(gpa, size, value);
      },
      readMsr: (msr) => (LocalApic.ownsMsr(msr) ? localApic.readMsr(msr) : tsc.readMsr(msr)),
      writeMsr: (msr, value) => {
        if (msr === TASK_PRIORITY) {
          localApic.cr8 = Number(value & 0xfn);
          return true;
        }
        return LocalApic.ownsMsr(msr) ? localApic.writeMsr(msr, value) : tsc.writeMsr(msr, value);
      },
      readTsc: (retired) => tsc.at(retired),
      tscLine: () => tsc.line(),
      floatError: (asserted) => parts.coprocessorError().ferr(asserted),
      randomBits: () => {
        const bytes = new Uint8Array(8);
        context.random(bytes);
        return new DataView(bytes.buffer).getBigUint64(0, true);
      },
    },
  };
}
