/**
 * `createVm`: from options to a VM that is ready to start. Everything that can be wrong with them is found here, before
 * a machine exists.
 */
import { randomBytes } from "node:crypto";
import { checkSpec, type DeviceSpec, type MachineSpec, machineSpec } from "@twinmetal/core";
import { AGENT_PORT_NAMES, QEMU_AGENT_PORT } from "../agent/index.ts";
import { type OpenedVmDisks, openVmDisks } from "../disk/vm-disks.ts";
import { ensureFirmware, ensureNetworkRoms, FIRMWARE_KINDS, type FirmwareKind } from "../firmware/firmware-files.ts";
import { prepareVariables, VariableStore, variablesPath } from "../firmware/variable-store.ts";
import { ImageError } from "../image/index.ts";
import type { NetworkOptions } from "../network/network-protocol.ts";
import type { NetworkThread } from "../network/network-thread.ts";
import { checkNetworks, networkDevices, startNetworks } from "../network/vm-networks.ts";
import { checkLimits } from "../resources/vm-limits.ts";
import { openVmShares, shareWords, type VmShares } from "../share/vm-shares.ts";
import { VSOCK_NAME } from "../vsock/vm-sockets.ts";
import {
  checkBootFiles,
  examineBootFile,
  type KernelFiles,
  type KnownBootFile,
  type KnownBootFiles,
  type KnownCardRoms,
  type KnownFirmware,
  kindOfKernel,
  readCardRoms,
  readFirmware,
  resolveBootPaths,
} from "./boot-files.ts";
import { bootOrderOf, checkBootOrder } from "./boot-order.ts";
import { engineFor } from "./engine-choice.ts";
import { HostedVm } from "./hosted-vm.ts";
import { runsInParallel } from "./parallel-choice.ts";
import { checkSlice, defaultSliceNs } from "./slice-time.ts";
import { cacheSettings } from "./translation-settings.ts";
import type { Vm, VmOptions } from "./vm.ts";
import { asVmError, VmError } from "./vm-error.ts";
import { BALLOON_NAME, HOT_MEMORY_NAME } from "./vm-memory.ts";

export const DEFAULT_MEMORY_BYTES: number = 512 * 2 ** 20;
const SEED_BYTES = 32;
const CONSOLE_ARGUMENTS = "console=ttyS0";

/** Rejects with VmError, ImageError, or the signal's reason. */
export async function createVm(options: VmOptions = {}): Promise<Vm> {
  const { signal } = options;
  signal?.throwIfAborted();
  checkOptions(options);
  const { files, store } =
    options.firmware === undefined ? { files: await kernelFiles(options) } : await firmwareFiles(options);
  try {
    return await createFrom(options, files, store);
  } catch (error) {
    await store?.close().catch(() => {}); // What went wrong first is told.
    throw error;
  }
}

async function createFrom(options: VmOptions, files: KnownBootFiles, store: VariableStore | undefined): Promise<Vm> {
  const { engine, tscFrequencyHz } = engineFor({
    wish: options.engine,
    clock: options.clock ?? "wall",
    cpuFeatures: options.cpuFeatures ?? [],
    isRecorded: options.record !== undefined,
    hasTier: options.tier !== undefined && options.tier !== "auto",
  });
  runsInParallel(options, engine);
  const disks = await openVmDisks(options.disks ?? [], options.diskBays);
  const network = startNetworks(options.networks ?? [], options.networkBays);
  let shares: VmShares | undefined;
  try {
    await network?.open();
    shares = await openVmShares(options.shares ?? []);
    return await createWith(options, files, { variables: store, disks, network, shares }, engine, tscFrequencyHz);
  } catch (error) {
    await network?.close().catch(() => {}); // What went wrong first is told.
    await shares?.thread?.close().catch(() => {});
    await disks.thread?.close().catch(() => {});
    throw error;
  }
}

interface OutsideOfVm {
  readonly variables: VariableStore | undefined;
  readonly disks: OpenedVmDisks;
  readonly network: NetworkThread | undefined;
  readonly shares: VmShares;
}

async function createWith(
  options: VmOptions,
  files: KnownBootFiles,
  { variables, disks, network, shares }: OutsideOfVm,
  engine: "jit" | "kvm",
  tscFrequencyHz: number | undefined,
): Promise<Vm> {
  const spec = specOf(options, files, [...disks.devices, ...shares.devices], tscFrequencyHz);
  if ("kernel" in files) checkBootFiles(spec, files);
  return await HostedVm.create({
    disks: disks.thread,
    network,
    shares: shares.thread,
    variables,
    vsockPath: options.vsock?.socketPath,
    name: options.name ?? `vm-${randomBytes(4).toString("hex")}`,
    initialState: "created",
    startsPaused: options.startsPaused,
    signal: options.signal,
    limits: options.limits,
    isBalloonAutomatic: options.isBalloonAutomatic,
    start: {
      spec,
      files,
      ring: disks.thread?.ring,
      frames: network?.ring,
      shareRing: shares.thread?.ring,
      engine,
      tier: options.tier ?? "auto",
      isParallel: runsInParallel(options, engine),
      smp: options.smp,
      translationCache: cacheSettings(spec, options.translationCache),
      sliceNs: options.sliceNs ?? defaultSliceNs(engine),
      onReboot: options.onReboot,
      statePath: undefined,
      advanceCalendarSeconds: 0,
      recordPath: options.record,
      replayPath: undefined,
    },
  });
}

async function kernelFiles(options: VmOptions): Promise<KernelFiles> {
  const { signal, onProgress } = options;
  const paths = await resolveBootPaths(options, { signal, onProgress });
  const kernel = await examineBootFile(paths.kernel, "kernel", signal);
  const initrd = paths.initrd === undefined ? undefined : await examineBootFile(paths.initrd, "initrd", signal);
  if (options.modules === undefined) return { kernel, ...(initrd ? { initrd } : {}) };
  const modules: KnownBootFile[] = [];
  for (const { path } of options.modules) modules.push(await examineBootFile(path, "module", signal));
  return { kernel, ...(initrd ? { initrd } : {}), modules };
}

interface FirmwareFiles {
  readonly files: KnownFirmware;
  /** Of a VM with a name: held for it alone, and closed by whoever gets it. */
  readonly store?: VariableStore;
}

async function firmwareFiles(options: VmOptions): Promise<FirmwareFiles> {
  const { firmware, name, signal, onProgress } = options;
  const kind = FIRMWARE_KINDS.find((known) => known === firmware);
  if (kind === undefined) return { files: { firmware: await readFirmware(firmware!, signal) } };
  const { code, variables, vga } = await ensureFirmware(kind, { signal, onProgress });
  const vgaRom = vga === undefined || !hasVga(options) ? undefined : await readFirmware(vga, signal);
  const cardRoms = await cardRomsFor(kind, options);
  const files = { firmware: await readFirmware(code, signal), ...(vgaRom ? { vgaRom } : {}), cardRoms };
  if (variables === undefined) return { files };
  const fresh = await readFirmware(variables, signal);
  const kept = options.variables ?? (name === undefined ? undefined : variablesPath(name));
  if (kept === undefined) return { files: { ...files, variables: fresh } };
  prepareVariables(kept, fresh.bytes);
  const store = await VariableStore.open(kept);
  try {
    const own = await readFirmware(kept, signal);
    if (own.bytes.length === fresh.bytes.length) return { files: { ...files, variables: own }, store };
    throw foreignVariables(kept, own.bytes.length, fresh.bytes.length);
  } catch (error) {
    await store.close();
    throw error;
  }
}

function foreignVariables(path: string, sizeBytes: number, wantedBytes: number): VmError {
  return new VmError(
    "firmware-unreadable",
    `${path} is no variable store of this firmware: it has ${sizeBytes} bytes and not ${wantedBytes}. Remove it, or give the VM another name.`,
  );
}

/** Only a VM that is to start from one needs them. */
async function cardRomsFor(kind: FirmwareKind, options: VmOptions): Promise<KnownCardRoms> {
  const { networks = [], bootOrder, signal, onProgress } = options;
  if (kind !== "bios" || networks.length === 0) return {};
  try {
    return await readCardRoms(await ensureNetworkRoms({ signal, onProgress }), signal);
  } catch (error) {
    if (!(error instanceof ImageError) || bootOrder?.includes("net")) throw error;
    return {};
  }
}

/** A screen is there where firmware shows something on it, unless something else is said. */
function hasVga({ vga, firmware }: VmOptions): boolean {
  return (vga ?? (firmware === undefined ? "none" : "std")) === "std";
}

/**
 * What every VM is made of beside the board: ports, and random numbers. The tiny image has Twinmetal's own agent; what another
 * guest has nobody knows.
 */
export function standardDevices({ image, kernel, firmware }: VmOptions = {}): readonly DeviceSpec[] {
  const isTiny = (kernel ?? firmware) === undefined && (image ?? "tiny") === "tiny";
  const names = isTiny ? AGENT_PORT_NAMES : [...AGENT_PORT_NAMES, QEMU_AGENT_PORT];
  return [
    {
      kind: "virtio-console",
      name: "console0",
      ports: names.map((name) => ({ name, isConsole: false })),
    },
    { kind: "virtio-rng", name: "rng0" },
  ];
}

function watchdogOf({ watchdog }: VmOptions): DeviceSpec[] {
  return watchdog === undefined ? [] : [{ kind: "watchdog", name: "watchdog0", action: watchdog }];
}

function cpusOf({ cpus = 1, maxCpus = cpus }: VmOptions): Pick<MachineSpec, "cpus" | "cpusAtStart"> {
  return { cpus: maxCpus, ...(maxCpus !== cpus && { cpusAtStart: cpus }) };
}

function specOf(
  options: VmOptions,
  files: KnownBootFiles,
  more: readonly DeviceSpec[],
  tscFrequencyHz: number | undefined,
): MachineSpec {
  const isLinux = "kernel" in files && kindOfKernel(files.kernel) !== "multiboot";
  const words = [
    isLinux ? CONSOLE_ARGUMENTS : "",
    isLinux && options.isQuiet ? "quiet" : "",
    isLinux ? addressWord(options.networks ?? []) : "",
    ...(isLinux ? shareWords(more) : []),
    options.append ?? "",
  ];
  const commandLine = words.filter((part) => part !== "").join(" ");
  const seed = options.seed ?? randomBytes(SEED_BYTES).toString("hex");
  const roms = "cardRoms" in files ? files.cardRoms : undefined;
  const names = { identity: options.name ?? seed, roms, bays: options.networkBays };
  const cards = networkDevices(options.networks ?? [], names);
  const { vsock } = options;
  const sockets: DeviceSpec[] = vsock ? [{ kind: "virtio-vsock", name: VSOCK_NAME, guestCid: vsock.cid }] : [];
  const hasBalloon = options.hasBalloon ?? options.isBalloonAutomatic;
  const balloon: DeviceSpec[] = hasBalloon ? [{ kind: "virtio-balloon", name: BALLOON_NAME }] : [];
  const { memoryBytes = DEFAULT_MEMORY_BYTES, maxMemoryBytes } = options;
  const hot: DeviceSpec[] =
    maxMemoryBytes === undefined || maxMemoryBytes === memoryBytes
      ? []
      : [{ kind: "virtio-mem", name: HOT_MEMORY_NAME, sizeBytes: maxMemoryBytes - memoryBytes }];
  const devices = [
    ...standardDevices(options),
    ...more,
    ...cards,
    ...balloon,
    ...hot,
    ...sockets,
    ...watchdogOf(options),
  ];
  try {
    const spec = machineSpec({
      memoryBytes,
      ...cpusOf(options),
      cpuFeatures: [...(options.cpuFeatures ?? [])].sort(),
      ...(tscFrequencyHz === undefined ? {} : { tscFrequencyHz }),
      clock: options.clock ?? "wall",
      ...(options.name === undefined ? {} : { name: options.name }),
      seed,
      epochSeconds: options.epochSeconds ?? Math.floor(Date.now() / 1000),
      ...("kernel" in files
        ? {
            boot: {
              kernel: files.kernel.reference,
              ...(files.initrd ? { initrd: files.initrd.reference } : {}),
              ...(files.modules && {
                modules: files.modules.map(({ reference }, i) => ({
                  file: reference,
                  commandLine: options.modules?.[i]?.commandLine ?? "",
                })),
              }),
              commandLine,
            },
          }
        : {
            firmware: files.firmware.reference,
            ...(options.hasBootMenu ? { hasBootMenu: true } : {}),
            ...bootOrderOf(options, devices),
            ...(files.variables ? { variables: files.variables.reference } : {}),
          }),
      ...(hasVga(options) ? { vga: "vgaRom" in files && files.vgaRom ? { rom: files.vgaRom.reference } : {} } : {}),
      devices,
    });
    checkSpec(spec);
    return spec;
  } catch (error) {
    throw asVmError(error);
  }
}

function checkOptions(options: VmOptions): void {
  const { name, sliceNs, firmware, kernel, initrd, modules, image, append, vga } = options;
  if (modules !== undefined && kernel === undefined) {
    throw new VmError("bad-option", "Modules are a kernel's: give the kernel, or leave the modules out.");
  }
  if (vga !== undefined && vga !== "std" && vga !== "none")
    throw new VmError("bad-option", `There is no VGA ${JSON.stringify(vga)}. Give "std" or "none".`);
  if (firmware !== undefined && [kernel, initrd, image, append].some((other) => other !== undefined)) {
    throw new VmError(
      "bad-option",
      "A VM starts from firmware or from a kernel: leave the firmware out, or image, kernel, initrd and append.",
    );
  }
  if (name !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) {
    throw new VmError(
      "bad-option",
      `${JSON.stringify(name)} is no name for a VM: give up to 63 letters, digits, ".", "_" and "-".`,
    );
  }
  const { onReboot, record } = options;
  if (onReboot !== undefined && onReboot !== "restart" && onReboot !== "stop")
    throw new VmError(
      "bad-option",
      `There is nothing called ${JSON.stringify(onReboot)} to do on a reboot. Give "restart" or "stop".`,
    );
  if (onReboot === "stop" && record !== undefined)
    throw new VmError(
      "bad-option",
      "A recording does not know what its VM does on a reboot: leave one of the two out.",
    );
  checkNetworks(options.networks ?? [], options.networkBays);
  checkSlice(sliceNs);
  checkLimits(options.limits ?? {});
  checkBootOrder(options);
}

/** The cards at whose other end somebody answers: the tiny guest asks there for its address. */
function addressWord(networks: readonly NetworkOptions[]): string {
  const cards = networks.flatMap(({ to }, index) => (to === "user" ? [`eth${index}`] : []));
  return cards.length === 0 ? "" : `twinmetal.net=dhcp:${cards.join(",")}`;
}
