/**
 * What a machine is made of: everything that is fixed at creation, part of every saved state and recording. Plain data;
 * files appear by hash and size, their bytes are handed over beside it.
 */
import { checkFeatureChoice } from "../cpu/features.ts";
import type { StateValue } from "../devices/device.ts";
import { macBytes, NETWORK_LIMITS } from "../devices/network-channel.ts";
import { WATCHDOG_ACTIONS, type WatchdogAction } from "../devices/watchdog.ts";
import { MAX_ROM_BYTES, PAGE_BYTES } from "../memory/ram.ts";
import { StateReader } from "../state/reader.ts";
import { bootClassOf } from "./boot-order.ts";
import {
  isShare,
  SHARE_KINDS,
  type ShareKind,
  type ShareSpec,
  shareFields,
  shareFromState,
  shareProblem,
} from "./share-spec.ts";

const MIB = 2 ** 20;

export const MEMORY_LIMITS = { minBytes: 16 * MIB, maxBytes: 3072 * MIB } as const;
/** The guest's calendar: 1970 to 2100. */
export const EPOCH_LIMITS = { minSeconds: 0, maxSeconds: 4_102_444_800 } as const;
/** In this range the counter's arithmetic is exact; CPUID leaf 15H can name whole megahertz. */
export const TSC_FREQUENCY = { minHz: 100_000_000, maxHz: 8_000_000_000, stepHz: 1_000_000 } as const;
export const CPU_LIMITS = { min: 1, max: 8 } as const;
export const CPU_MODELS = ["portable-v1"] as const;
export const CLOCK_MODES = ["wall", "virtual"] as const;
export const DEVICE_KINDS = [
  "virtio-console",
  "virtio-rng",
  "virtio-block",
  "sata-disk",
  "sata-cd",
  "nvme-disk",
  "virtio-net",
  "ide-disk",
  "ide-cd",
  "virtio-balloon",
  "virtio-vsock",
  "e1000",
  ...SHARE_KINDS,
  "watchdog",
] as const;
/** Those that have a disk's bytes. */
const DISK_KINDS: readonly string[] = [
  "virtio-block",
  "sata-disk",
  "sata-cd",
  "nvme-disk",
  "ide-disk",
  "ide-cd",
] satisfies DeviceKind[];
/** Of the board's IDE controller. */
const MAX_IDE_DRIVES = 4;
/** Ports of the board's AHCI controller. */
const MAX_SATA_DRIVES = 6;
export const DISK_LIMITS = { minBytes: 512, maxBytes: 2 ** 50, stepBytes: 512 } as const;
const MAX_DISK_QUEUES = 8;
const NETWORK_KINDS: readonly string[] = ["virtio-net", "e1000"] satisfies DeviceKind[];
const MAX_OPTION_ROM_BYTES = 2 ** 20;
/** 0 to 2 are nobody, the guest itself and the host; the last one is anybody. */
export const GUEST_CIDS = { min: 3, max: 0xffff_fffe } as const;
const MAX_CPU_FEATURES = 256;
const MAX_COMMAND_LINE = 65_535;
const MAX_DEVICES = 24;
const MAX_CONSOLE_PORTS = 31;
const MAX_SEED_DIGITS = 128;
const MAX_NAME = 63;
const MAX_MODULES = 32;
const MAX_VGA_ROM_BYTES = 2 ** 18;
const MAX_FILE_BYTES = 4096 * MIB;

export type CpuModel = (typeof CPU_MODELS)[number];
export type ClockMode = (typeof CLOCK_MODES)[number];
export type DeviceKind = (typeof DEVICE_KINDS)[number];

/** A file that the machine needs, known by its content. */
export interface FileReference {
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** A kernel without firmware: Linux, or another that starts by PVH or Multiboot. */
export interface LinuxBoot {
  readonly kernel: FileReference;
  readonly initrd?: FileReference;
  /** Of Multiboot and PVH kernels, in front of the initrd. Default: none. */
  readonly modules?: readonly ModuleReference[];
  readonly commandLine: string;
}

export interface ModuleReference {
  readonly file: FileReference;
  readonly commandLine: string;
}

export interface ConsolePortSpec {
  /** As the guest sees it, and the name of its channel. */
  readonly name: string;
  /** A terminal in the guest (hvc), and not a plain stream of bytes. */
  readonly isConsole: boolean;
}

/** A disk, whose bytes are handed over beside the spec; its channel has the device's name. */
export interface DiskSpec {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

/** `name` is unique, and the name of the device's section in a state: lower-case letters, digits and "-". */
export type DeviceSpec =
  | { readonly kind: "virtio-rng" | "virtio-balloon"; readonly name: string }
  | { readonly kind: "virtio-vsock"; readonly name: string; readonly guestCid: number }
  | { readonly kind: "virtio-console"; readonly name: string; readonly ports: readonly ConsolePortSpec[] }
  | ({ readonly kind: "virtio-block"; readonly name: string; readonly queues: number } & DiskSpec)
  /** A controller with a disk of its own. */
  | ({ readonly kind: "nvme-disk"; readonly name: string } & DiskSpec)
  | { readonly kind: "watchdog"; readonly name: string; readonly action: WatchdogAction }
  | SataDriveSpec
  | IdeDriveSpec
  | NetworkCardSpec
  | ShareSpec;

/** A drive at the next port of the board's AHCI controller, which is there with the first of them. */
export interface SataDriveSpec extends DiskSpec {
  /** A disk, or a CD drive with a disc in it, which is read-only. */
  readonly kind: "sata-disk" | "sata-cd";
  readonly name: string;
}

/** A network card, whose channel has the device's name. */
export interface NetworkCardSpec {
  readonly kind: "virtio-net" | "e1000";
  readonly name: string;
  /** Its address: "52:54:00:12:34:56". */
  readonly mac: string;
  /** Of virtio's: the largest payload of a frame that it takes. */
  readonly mtu: number;
  /** What firmware starts from it with. */
  readonly rom?: FileReference;
}

/** A drive at the board's IDE controller, which is there with the first of them: primary master, its slave, and so on. */
export interface IdeDriveSpec extends DiskSpec {
  readonly kind: "ide-disk" | "ide-cd";
  readonly name: string;
}

export interface VgaSpec {
  /** The VGA BIOS, for firmware that starts one. */
  readonly rom?: FileReference;
}

export interface MachineSpec {
  readonly memoryBytes: number;
  /** vCPUs: 1 to 8. */
  readonly cpus: number;
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

export type SpecErrorCode =
  | "memory"
  | "cpus"
  | "cpu"
  | "tsc-frequency"
  | "seed"
  | "name"
  | "epoch"
  | "clock"
  | "boot"
  | "firmware"
  | "vga"
  | "devices";

export class SpecError extends Error {
  override readonly name = "SpecError";
  readonly code: SpecErrorCode;

  constructor(code: SpecErrorCode, message: string) {
    super(message);
    this.code = code;
  }
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
  if (spec.firmware) checkFirmware(spec.firmware, spec.boot);
  checkVariables(spec);
  if (spec.vga?.rom) checkVgaRom(spec.vga.rom);
  checkDevices(spec.devices);
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
  const file = (reference: FileReference): StateValue => ({ sha256: reference.sha256, sizeBytes: reference.sizeBytes });
  return {
    memoryBytes,
    // Absent for one, as before there were more.
    ...(spec.cpus > 1 && { cpus: spec.cpus }),
    cpu,
    cpuFeatures: [...cpuFeatures],
    tscFrequencyHz,
    seed,
    epochSeconds,
    clock,
    boot: boot
      ? {
          kernel: file(boot.kernel),
          initrd: boot.initrd ? file(boot.initrd) : null,
          commandLine: boot.commandLine,
          ...(boot.modules && {
            modules: boot.modules.map((module) => ({ file: file(module.file), commandLine: module.commandLine })),
          }),
        }
      : null,
    firmware: firmware ? file(firmware) : null,
    ...(variables ? { variables: file(variables) } : {}),
    ...(name === undefined ? {} : { name }),
    ...(hasBootMenu ? { hasBootMenu } : {}),
    ...(bootOrder ? { bootOrder: [...bootOrder] } : {}),
    ...(hasDebugExit ? { hasDebugExit } : {}),
    ...(vga ? { vga: { rom: vga.rom ? file(vga.rom) : null } } : {}),
    devices: devices.map((device) => ({
      kind: device.kind,
      name: device.name,
      ...fieldsOf(device),
    })),
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

/** Whether a device has a disk's bytes, through a channel of its name. */
export function isDisk(device: DeviceSpec): device is DeviceSpec & DiskSpec {
  return DISK_KINDS.includes(device.kind);
}

export function isSataDrive(device: DeviceSpec): device is SataDriveSpec {
  return device.kind === "sata-disk" || device.kind === "sata-cd";
}

export function isNetworkCard(device: DeviceSpec): device is NetworkCardSpec {
  return NETWORK_KINDS.includes(device.kind);
}

export function isIdeDrive(device: DeviceSpec): device is IdeDriveSpec {
  return device.kind === "ide-disk" || device.kind === "ide-cd";
}

/** With a size, and read-only or not, and nothing else. */
function isPlainDisk(kind: DeviceKind): kind is "sata-disk" | "sata-cd" | "nvme-disk" | "ide-disk" | "ide-cd" {
  return DISK_KINDS.includes(kind) && kind !== "virtio-block";
}

function fieldsOf(device: DeviceSpec): { readonly [key: string]: StateValue } {
  switch (device.kind) {
    case "virtio-console":
      return { ports: device.ports.map(({ name, isConsole }) => ({ name, isConsole })) };
    case "virtio-block":
      return { sizeBytes: device.sizeBytes, isReadOnly: device.isReadOnly, queues: device.queues };
    case "sata-disk":
    case "sata-cd":
    case "nvme-disk":
    case "ide-disk":
    case "ide-cd":
      return { sizeBytes: device.sizeBytes, isReadOnly: device.isReadOnly };
    case "virtio-vsock":
      return { guestCid: device.guestCid };
    case "virtio-net":
    case "e1000": {
      const { mac, mtu, rom } = device;
      return { mac, mtu, rom: rom ? { sha256: rom.sha256, sizeBytes: rom.sizeBytes } : null };
    }
    case "virtio-fs":
    case "virtio-9p":
      return shareFields(device);
    case "watchdog":
      return { action: device.action };
    default:
      return {};
  }
}

function deviceFromState(reader: StateReader): DeviceSpec {
  const kind = reader.text("kind", 64) as DeviceKind;
  const name = reader.text("name", 64);
  if (kind === "virtio-block") {
    const sizeBytes = reader.int("sizeBytes", 0, Number.MAX_SAFE_INTEGER);
    const disk = { sizeBytes, isReadOnly: reader.bool("isReadOnly"), queues: reader.u8("queues") };
    reader.end();
    return { kind, name, ...disk };
  }
  if (isPlainDisk(kind)) {
    const disk = {
      sizeBytes: reader.int("sizeBytes", 0, Number.MAX_SAFE_INTEGER),
      isReadOnly: reader.bool("isReadOnly"),
    };
    reader.end();
    return { kind, name, ...disk };
  }
  if (kind === "virtio-net" || kind === "e1000") {
    const card = { mac: reader.text("mac", 17), mtu: reader.u16("mtu") };
    const rom = reader.part("rom") === null ? undefined : fileFromState(reader.object("rom"));
    reader.end();
    return { kind, name, ...card, ...(rom ? { rom } : {}) };
  }
  if (kind === "virtio-vsock") {
    const guestCid = reader.u32("guestCid");
    reader.end();
    return { kind, name, guestCid };
  }
  if (isShareKind(kind)) return shareFromState(kind, name, reader);
  if (kind === "watchdog") {
    const action = reader.text("action", 16) as WatchdogAction;
    reader.end();
    return { kind, name, action };
  }
  if (kind !== "virtio-console") {
    reader.end();
    return { kind, name };
  }
  const ports = reader.array("ports", MAX_CONSOLE_PORTS).map((port) => {
    const entry = { name: port.text("name", 64), isConsole: port.bool("isConsole") };
    port.end();
    return entry;
  });
  reader.end();
  return { kind, name, ports };
}

function isShareKind(kind: DeviceKind): kind is ShareKind {
  return isShare({ kind });
}

function vgaFromState(reader: StateReader): VgaSpec {
  const rom = reader.part("rom") === null ? undefined : fileFromState(reader.object("rom"));
  reader.end();
  return rom ? { rom } : {};
}

function fileFromState(reader: StateReader): FileReference {
  const reference = { sha256: reader.text("sha256", 64), sizeBytes: reader.int("sizeBytes", 0, MAX_FILE_BYTES) };
  reader.end();
  return reference;
}

function bootFromState(reader: StateReader): LinuxBoot {
  const boot: LinuxBoot = {
    kernel: fileFromState(reader.object("kernel")),
    ...(reader.part("initrd") === null ? {} : { initrd: fileFromState(reader.object("initrd")) }),
    commandLine: reader.text("commandLine", MAX_COMMAND_LINE),
    ...(reader.has("modules") ? { modules: reader.array("modules", MAX_MODULES).map(moduleFromState) } : {}),
  };
  reader.end();
  return boot;
}

function moduleFromState(reader: StateReader): ModuleReference {
  const module = {
    file: fileFromState(reader.object("file")),
    commandLine: reader.text("commandLine", MAX_COMMAND_LINE),
  };
  reader.end();
  return module;
}

function checkFile(code: "boot" | "firmware" | "vga" | "devices", role: string, file: FileReference): void {
  if (/^[0-9a-f]{64}$/.test(file.sha256) && isWhole(file.sizeBytes, 0, MAX_FILE_BYTES)) return;
  throw new SpecError(code, `The ${role} is not named by a SHA-256 of 64 lower-case hexadecimal digits and its size.`);
}

function checkFirmware(firmware: FileReference, boot: LinuxBoot | undefined): void {
  if (boot) {
    throw new SpecError("firmware", "A machine starts from a kernel or from firmware, not from both. Leave one out.");
  }
  checkFile("firmware", "firmware", firmware);
  const { sizeBytes } = firmware;
  if (sizeBytes >= PAGE_BYTES && sizeBytes <= MAX_ROM_BYTES && sizeBytes % PAGE_BYTES === 0) return;
  throw new SpecError(
    "firmware",
    `Firmware of ${sizeBytes} bytes does not fit. Give an image of whole pages of 4 KiB, at most 16 MiB.`,
  );
}

function checkVariables({ firmware, variables }: MachineSpec): void {
  if (!variables) return;
  if (!firmware)
    throw new SpecError("firmware", "Variables of firmware need the firmware. Give it, or leave them out.");
  checkFile("firmware", "firmware's variables", variables);
  const { sizeBytes } = variables;
  if (sizeBytes > 0 && sizeBytes % PAGE_BYTES === 0 && sizeBytes + firmware.sizeBytes <= MAX_ROM_BYTES) return;
  throw new SpecError(
    "firmware",
    `Variables of ${sizeBytes} bytes do not fit. Give an image of whole pages of 4 KiB, with the firmware at most 16 MiB.`,
  );
}

function checkVgaRom(rom: FileReference): void {
  checkFile("vga", "VGA BIOS", rom);
  if (rom.sizeBytes > 0 && rom.sizeBytes <= MAX_VGA_ROM_BYTES) return;
  throw new SpecError("vga", `A VGA BIOS of ${rom.sizeBytes} bytes does not fit. Give one of at most 256 KiB.`);
}

function checkBoot(boot: LinuxBoot): void {
  checkFile("boot", "kernel", boot.kernel);
  if (boot.initrd) checkFile("boot", "initrd", boot.initrd);
  const { modules = [] } = boot;
  for (const { file } of modules) checkFile("boot", "module", file);
  if (modules.length > MAX_MODULES) {
    throw new SpecError("boot", `${modules.length} modules are too many: at most ${MAX_MODULES} are possible.`);
  }
  if (boot.commandLine.length > MAX_COMMAND_LINE) {
    throw new SpecError(
      "boot",
      `The command line has ${boot.commandLine.length} characters; at most ${MAX_COMMAND_LINE} fit.`,
    );
  }
}

function checkDevices(devices: readonly DeviceSpec[]): void {
  if (devices.length > MAX_DEVICES) {
    throw new SpecError("devices", `${devices.length} devices do not fit: the board has ${MAX_DEVICES} slots.`);
  }
  const names = new Set<string>();
  for (const device of devices) {
    const { kind, name } = device;
    requireOneOf("devices", "device", kind, DEVICE_KINDS);
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(name)) {
      throw new SpecError(
        "devices",
        `${JSON.stringify(name)} is no device name: give up to 32 lower-case letters, digits and "-".`,
      );
    }
    if (names.has(name)) throw new SpecError("devices", `Two devices are named ${name}: give each its own name.`);
    names.add(name);
    if (kind === "virtio-console") checkPorts(name, device.ports);
    if (kind === "virtio-vsock" && !isWhole(device.guestCid, GUEST_CIDS.min, GUEST_CIDS.max)) {
      throw new SpecError(
        "devices",
        `The guest's socket address (CID) cannot be ${device.guestCid}. Give ${GUEST_CIDS.min} to ${GUEST_CIDS.max}.`,
      );
    }
    if (kind === "watchdog") requireOneOf("devices", "action of a watchdog", device.action, WATCHDOG_ACTIONS);
    if (kind === "virtio-block") checkDisk(name, device);
    if (isNetworkCard(device)) checkNetworkCard(device, devices);
    if (isPlainDisk(kind)) checkDisk(name, { ...(device as DiskSpec), queues: 1 });
    if ((device.kind === "sata-cd" || device.kind === "ide-cd") && !device.isReadOnly) {
      throw new SpecError("devices", `The disc in ${name} is not read-only, and a CD drive cannot write.`);
    }
  }
  const ideDrives = devices.filter(isIdeDrive).length;
  if (ideDrives > MAX_IDE_DRIVES)
    throw new SpecError(
      "devices",
      `${ideDrives} IDE drives do not fit: the controller has room for ${MAX_IDE_DRIVES}.`,
    );
  const problem = shareProblem(devices);
  if (problem !== undefined) throw new SpecError("devices", problem);
  if (devices.filter(({ kind }) => kind === "watchdog").length > 1)
    throw new SpecError("devices", "A machine has one watchdog at most. Leave the others out.");
  const drives = devices.filter(isSataDrive).length;
  if (drives > MAX_SATA_DRIVES) {
    throw new SpecError("devices", `${drives} SATA drives do not fit: the controller has ${MAX_SATA_DRIVES} ports.`);
  }
}

function checkBootOrder(names: readonly string[], devices: readonly DeviceSpec[]): void {
  for (const [i, name] of names.entries()) {
    const device = devices.find((candidate) => candidate.name === name);
    if (!device || bootClassOf(device) === undefined)
      throw new SpecError(
        "boot",
        `Firmware cannot start from ${JSON.stringify(name)}: that is none of the VM's disks, discs and network cards.`,
      );
    if (names.indexOf(name) !== i)
      throw new SpecError("boot", `${name} is twice in the boot order: name each device once.`);
  }
}

function checkNetworkCard({ name, mac, mtu, rom }: NetworkCardSpec, devices: readonly DeviceSpec[]): void {
  if (macBytes(mac) === undefined) {
    throw new SpecError(
      "devices",
      `${JSON.stringify(mac)} is no address for the network card ${name}: give six bytes like 52:54:00:12:34:56, the first of them even.`,
    );
  }
  if (devices.some((other) => isNetworkCard(other) && other.name !== name && other.mac === mac)) {
    throw new SpecError("devices", `Two network cards have the address ${mac}: give each its own.`);
  }
  if (!isWhole(mtu, NETWORK_LIMITS.minMtu, NETWORK_LIMITS.maxMtu)) {
    const { minMtu, maxMtu } = NETWORK_LIMITS;
    throw new SpecError(
      "devices",
      `The network card ${name} cannot have an MTU of ${mtu}: give ${minMtu} to ${maxMtu}.`,
    );
  }
  if (!rom) return;
  checkFile("devices", "network card's ROM", rom);
  if (rom.sizeBytes > 0 && rom.sizeBytes <= MAX_OPTION_ROM_BYTES) return;
  throw new SpecError(
    "devices",
    `A network card's ROM of ${rom.sizeBytes} bytes does not fit. Give one of at most 1 MiB.`,
  );
}

function checkDisk(device: string, { sizeBytes, queues }: DiskSpec & { readonly queues: number }): void {
  if (!isWhole(sizeBytes, DISK_LIMITS.minBytes, DISK_LIMITS.maxBytes) || sizeBytes % DISK_LIMITS.stepBytes !== 0) {
    throw new SpecError(
      "devices",
      `The disk ${device} cannot have ${sizeBytes} bytes. Give whole sectors of ${DISK_LIMITS.stepBytes} bytes, from one to 1024 TiB.`,
    );
  }
  if (!isWhole(queues, 1, MAX_DISK_QUEUES)) {
    throw new SpecError("devices", `The disk ${device} cannot have ${queues} queues. Give 1 to ${MAX_DISK_QUEUES}.`);
  }
}

function checkPorts(device: string, ports: readonly ConsolePortSpec[]): void {
  if (ports.length < 1 || ports.length > MAX_CONSOLE_PORTS) {
    throw new SpecError("devices", `${device} cannot have ${ports.length} ports. Give 1 to ${MAX_CONSOLE_PORTS}.`);
  }
  for (const { name } of ports) {
    if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) continue;
    throw new SpecError(
      "devices",
      `${JSON.stringify(name)} is no port name: give up to 64 letters, digits, ".", "_" and "-".`,
    );
  }
}

function requireOneOf(code: SpecErrorCode, what: string, value: string, choices: readonly string[]): void {
  if (choices.includes(value)) return;
  throw new SpecError(code, `There is no ${what} ${JSON.stringify(value)}. Possible: ${choices.join(", ")}.`);
}

function isWhole(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max;
}

function describeBytes(bytes: number): string {
  return bytes >= MIB ? `${Number((bytes / MIB).toFixed(2))} MiB` : `${bytes} bytes`;
}
