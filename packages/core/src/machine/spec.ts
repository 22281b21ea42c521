/**
 * What a machine is made of: everything that is fixed at creation, part of every saved state and recording. Plain data;
 * files appear by hash and size, their bytes are handed over beside it.
 */
import { checkFeatureChoice } from "../cpu/features.ts";
import type { StateValue } from "../devices/device.ts";
import { PAGE_BYTES } from "../memory/ram.ts";
import { StateReader } from "../state/reader.ts";
import { checkBootOrder } from "./boot-order.ts";
import { bootFields, bootFromState, checkBoot, checkFirmware, type LinuxBoot } from "./boot-spec.ts";
import { checkDevices, type DeviceSpec, deviceFields, deviceFromState, MAX_DEVICES } from "./device-spec.ts";
import { checkFile, type FileReference, fileFields, fileFromState } from "./file-reference.ts";
import { hotMemoryProblem, MEMORY_LIMITS } from "./memory-size.ts";
import { isWhole, requireOneOf, SpecError } from "./spec-error.ts";

const MIB = 2 ** 20;

/** The guest's calendar: 1970 to 2100. */
export const EPOCH_LIMITS = { minSeconds: 0, maxSeconds: 4_102_444_800 } as const;
/** In this range the counter's arithmetic is exact; CPUID leaf 15H can name whole megahertz. */
export const TSC_FREQUENCY = { minHz: 100_000_000, maxHz: 8_000_000_000, stepHz: 1_000_000 } as const;
export const CPU_LIMITS = { min: 1, max: 8 } as const;
export const CPU_MODELS = ["portable-v1"] as const;
export const CLOCK_MODES = ["wall", "virtual"] as const;
const MAX_CPU_FEATURES = 256;
const MAX_SEED_DIGITS = 128;
const MAX_NAME = 63;
const MAX_VGA_ROM_BYTES = 2 ** 18;
export type CpuModel = (typeof CPU_MODELS)[number];
export type ClockMode = (typeof CLOCK_MODES)[number];
export interface VgaSpec {
  /** The VGA BIOS, for firmware that starts one. */
  readonly rom?: FileReference;
}

export interface MachineSpec {
  /** RAM at power-on. */
  readonly memoryBytes: number;
  /** vCPUs: 1 to 8. */
  readonly cpus: number;
  /** Fewer than `cpus`: the others can come and go while the machine runs. Absent: all are there at power-on, and stay. */
  readonly cpusAtStart?: number;
  readonly cpu: CpuModel;
  /** What this CPU has beyond its model, and with a "-" in front what it lacks of it (cpu/features.ts); sorted. */
  readonly cpuFeatures: readonly string[];
  readonly tscFrequencyHz: number;
  /** Hexadecimal digits, an even number: the source of the machine's random stream. */
  readonly seed: string;
  /** What the guest may call itself: SMBIOS tells it as the system's serial number, and derives a UUID from the seed. */
  readonly name?: string;
  /** The guest's calendar at power-on, in seconds since 1970. */
  readonly epochSeconds: number;
  /** "virtual": one instruction is one nanosecond, and nothing of the host's time is seen. */
  readonly clock: ClockMode;
  /** Absent: the vCPU starts at its reset vector. */
  readonly boot?: LinuxBoot;
  /**
   * Only without `boot`: the ROM that ends at 4 GiB, in whole pages, with the reset vector in its last 16 bytes. At each
   * start its last 128 KiB are also copied to the RAM below 1 MiB, where they can be written.
   */
  readonly firmware?: FileReference;
  /** Only with `firmware`: what the flash chip right below its ROM holds at first. Firmware keeps its variables there. */
  readonly variables?: FileReference;
  /** Of `firmware`: it waits a few seconds for a key that opens its boot menu. Default: false. */
  readonly hasBootMenu?: boolean;
  /** Of `firmware`: names of devices that it tries first, in this order (machine/boot-order.ts). Default: none. */
  readonly bootOrder?: readonly string[];
  /** Test programs can end the machine at a port: devices/debug-exit.ts. Default: false. */
  readonly hasDebugExit?: boolean;
  /** A display adapter with the display interface of QEMU's standard VGA, and a keyboard. Absent: neither is there. */
  readonly vga?: VgaSpec;
  /** Beside what is soldered to the board. In order of their PCI slots, or ports of the AHCI controller. */
  readonly devices: readonly DeviceSpec[];
}

/** Fills in defaults and checks. A caller that wants a real VM gives seed and epoch; these defaults make a fixed one. */
export function machineSpec(given: Partial<MachineSpec> & Pick<MachineSpec, "memoryBytes">): MachineSpec {
  const spec: MachineSpec = {
    cpus: 1,
    cpu: "portable-v1",
    cpuFeatures: [],
    tscFrequencyHz: 1_000_000_000,
    seed: "00",
    epochSeconds: 946_684_800,
    clock: "wall",
    devices: [],
    ...given,
  };
  checkSpec(spec);
  return spec;
}

/** Throws SpecError. */
export function checkSpec(spec: MachineSpec): void {
  const { memoryBytes, tscFrequencyHz, seed, epochSeconds } = spec;
  if (!isWhole(memoryBytes, MEMORY_LIMITS.minBytes, MEMORY_LIMITS.maxBytes) || memoryBytes % PAGE_BYTES !== 0) {
    throw new SpecError(
      "memory",
      `A machine cannot have ${describeBytes(memoryBytes)} of memory. Give 16 MiB to 3072 MiB, in whole pages of 4 KiB.`,
    );
  }
  if (!isWhole(spec.cpus, CPU_LIMITS.min, CPU_LIMITS.max)) {
    throw new SpecError(
      "cpus",
      `A machine cannot have ${spec.cpus} processors. Give a whole number from ${CPU_LIMITS.min} to ${CPU_LIMITS.max}.`,
    );
  }
  const { cpusAtStart } = spec;
  if (cpusAtStart !== undefined && !isWhole(cpusAtStart, CPU_LIMITS.min, spec.cpus - 1)) {
    throw new SpecError(
      "cpus",
      `A machine with room for ${spec.cpus} processors cannot start with ${cpusAtStart} of them and get more. Give fewer than it has room for, at least one.`,
    );
  }
  requireOneOf("cpu", "CPU model", spec.cpu, CPU_MODELS);
  const wrong = checkFeatureChoice(spec.cpuFeatures);
  if (wrong !== undefined) throw new SpecError("cpu", wrong);
  requireOneOf("clock", "clock mode", spec.clock, CLOCK_MODES);
  if (
    !isWhole(tscFrequencyHz, TSC_FREQUENCY.minHz, TSC_FREQUENCY.maxHz) ||
    tscFrequencyHz % TSC_FREQUENCY.stepHz !== 0
  ) {
    throw new SpecError(
      "tsc-frequency",
      `The time-stamp counter cannot run at ${tscFrequencyHz} Hz. Give 100 MHz to 8 GHz, in steps of 1 MHz.`,
    );
  }
  if (!/^([0-9a-f]{2})+$/.test(seed) || seed.length > MAX_SEED_DIGITS) {
    throw new SpecError(
      "seed",
      `The seed is not 2 to ${MAX_SEED_DIGITS} hexadecimal digits (lower case, an even number).`,
    );
  }
  if (!isWhole(epochSeconds, EPOCH_LIMITS.minSeconds, EPOCH_LIMITS.maxSeconds)) {
    throw new SpecError(
      "epoch",
      `The guest's calendar cannot start at ${epochSeconds}. Give seconds since 1970, up to the year 2100.`,
    );
  }
  if (spec.name !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(spec.name)) {
    throw new SpecError(
      "name",
      `${JSON.stringify(spec.name)} is no name for a machine: give up to ${MAX_NAME} letters, digits, ".", "_" and "-".`,
    );
  }
  if (spec.boot) checkBoot(spec.boot);
  checkFirmware(spec);
  if (spec.vga?.rom) checkVgaRom(spec.vga.rom);
  checkDevices(spec.devices);
  const memoryProblem = hotMemoryProblem(spec);
  if (memoryProblem !== undefined) throw new SpecError("memory", memoryProblem);
  if (spec.bootOrder) checkBootOrder(spec.bootOrder, spec.devices);
}

export function specToState(spec: MachineSpec): StateValue {
  const {
    memoryBytes,
    cpu,
    cpuFeatures,
    tscFrequencyHz,
    seed,
    epochSeconds,
    clock,
    boot,
    firmware,
    variables,
    name,
    hasBootMenu,
    bootOrder,
    hasDebugExit,
    vga,
    devices,
  } = spec;
  return {
    memoryBytes,
    // Absent for one, as before there were more.
    ...(spec.cpus > 1 && { cpus: spec.cpus }),
    ...(spec.cpusAtStart !== undefined && { cpusAtStart: spec.cpusAtStart }),
    cpu,
    cpuFeatures: [...cpuFeatures],
    tscFrequencyHz,
    seed,
    epochSeconds,
    clock,
    boot: boot ? bootFields(boot) : null,
    firmware: firmware ? fileFields(firmware) : null,
    ...(variables ? { variables: fileFields(variables) } : {}),
    ...(name === undefined ? {} : { name }),
    ...(hasBootMenu ? { hasBootMenu } : {}),
    ...(bootOrder ? { bootOrder: [...bootOrder] } : {}),
    ...(hasDebugExit ? { hasDebugExit } : {}),
    ...(vga ? { vga: { rom: vga.rom ? fileFields(vga.rom) : null } } : {}),
    devices: devices.map(deviceFields),
  };
}

/** Throws StateError, or SpecError where a well-formed spec is none that this version can build. */
export function specFromState(state: StateValue, path = "spec"): MachineSpec {
  const reader = new StateReader(state, path);
  const boot = reader.part("boot") === null ? undefined : bootFromState(reader.object("boot"));
  // States of version 0.1.0 have none of these fields.
  const cpuFeatures = reader.has("cpuFeatures") ? reader.texts("cpuFeatures", MAX_CPU_FEATURES, 64) : [];
  const hasFirmware = reader.has("firmware") && reader.part("firmware") !== null;
  const firmware = hasFirmware ? fileFromState(reader.object("firmware")) : undefined;
  const variables = reader.has("variables") ? fileFromState(reader.object("variables")) : undefined;
  const vga = reader.has("vga") ? vgaFromState(reader.object("vga")) : undefined;
  const spec: MachineSpec = {
    memoryBytes: reader.int("memoryBytes", 0, Number.MAX_SAFE_INTEGER),
    cpus: reader.has("cpus") ? reader.int("cpus", CPU_LIMITS.min, CPU_LIMITS.max) : 1,
    ...(reader.has("cpusAtStart") ? { cpusAtStart: reader.int("cpusAtStart", 1, CPU_LIMITS.max) } : {}),
    cpu: reader.text("cpu", 64) as CpuModel,
    cpuFeatures,
    tscFrequencyHz: reader.int("tscFrequencyHz", 0, Number.MAX_SAFE_INTEGER),
    seed: reader.text("seed", MAX_SEED_DIGITS),
    epochSeconds: reader.int("epochSeconds", 0, Number.MAX_SAFE_INTEGER),
    clock: reader.text("clock", 64) as ClockMode,
    ...(boot ? { boot } : {}),
    ...(firmware ? { firmware } : {}),
    ...(variables ? { variables } : {}),
    ...(reader.has("name") ? { name: reader.text("name", MAX_NAME) } : {}),
    ...(reader.has("hasBootMenu") && reader.bool("hasBootMenu") ? { hasBootMenu: true } : {}),
    ...(reader.has("bootOrder") ? { bootOrder: reader.texts("bootOrder", MAX_DEVICES, 64) } : {}),
    ...(reader.has("hasDebugExit") && reader.bool("hasDebugExit") ? { hasDebugExit: true } : {}),
    ...(vga ? { vga } : {}),
    devices: reader.array("devices", MAX_DEVICES).map(deviceFromState),
  };
  reader.end();
  checkSpec(spec);
  return spec;
}

export function seedBytes(spec: MachineSpec): Uint8Array {
  return Uint8Array.from(spec.seed.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
}

function vgaFromState(reader: StateReader): VgaSpec {
  const rom = reader.part("rom") === null ? undefined : fileFromState(reader.object("rom"));
  reader.end();
  return rom ? { rom } : {};
}

function checkVgaRom(rom: FileReference): void {
  checkFile("vga", "VGA BIOS", rom);
  if (rom.sizeBytes > 0 && rom.sizeBytes <= MAX_VGA_ROM_BYTES) return;
  throw new SpecError("vga", `A VGA BIOS of ${rom.sizeBytes} bytes does not fit. Give one of at most 256 KiB.`);
}

function describeBytes(bytes: number): string {
  return bytes >= MIB ? `${Number((bytes / MIB).toFixed(2))} MiB` : `${bytes} bytes`;
}
