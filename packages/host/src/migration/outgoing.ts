/** A VM of this process on its way to another: core's migration over the machine's thread and a socket. */
import { randomBytes } from "node:crypto";
import {
  DEFAULT_MIGRATION_LIMITS,
  engineRamOf,
  type MachineSpec,
  MIGRATION_ID_BYTES,
  type MigrateOptions,
  MigrationError,
  type MigrationLimits,
  type MigrationObstacle,
  type MigrationProgress,
  type MigrationResult,
  migrateVm,
  PAGE_BYTES,
  probeTarget,
  type SourceVm,
} from "@twinmetal/core";
import type { DiskThread } from "../disk/disk-thread.ts";
import { markMigration } from "../policy/running-vms.ts";
import type { ShareThread } from "../share/share-thread.ts";
import type { CurrentMachine } from "../vm/current-machine.ts";
import type { VmSerialPort } from "../vm/serial-port.ts";
import type { MachineDescription } from "../vm/worker-protocol.ts";
import { badOption, type MigrationAddress, type MigrationSecurity, parseAddress, readSecurity } from "./address.ts";
import { connectLink } from "./connecting.ts";
import { cancelBy, NODE_TIME, ZLIB_COMPRESSOR } from "./node-world.ts";
import { libraryVersion } from "./version.ts";

export interface MigrateVmOptions extends MigrationSecurity {
  /** How long the guest may stand still for the last step, in milliseconds; default 100. Two seconds, or four times as much, end the attempt. */
  readonly maxDowntimeMs?: number;
  /** Default: as much as the link takes. */
  readonly bytesPerSecond?: number;
  /** Of pages; "auto" (default): over TCP or with a bandwidth, while the link is what is waited for. */
  readonly compression?: MigrationLimits["compression"];
  /** Whether the guest may be slowed down when it writes faster than the link carries; default true. */
  readonly mayThrottle?: boolean;
  /** A target that is silent for so long is gone; default 10 s. */
  readonly stallMs?: number;
  /** How long a target is asked what has become of the VM, when the link broke at the last step; default 10 s. */
  readonly decideMs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: MigrationProgress) => void;
}

/** A migration's name, as `admitVm` takes it. */
export const keyOf = (id: Uint8Array): string => Buffer.from(id).toString("hex");

/** What to do with a VM here that may run elsewhere. */
export type MigrationChoice = "run" | "discard";

export interface OutgoingVm {
  readonly name: string;
  readonly spec: MachineSpec;
  readonly machine: CurrentMachine;
  readonly serial: VmSerialPort;
  readonly disks: DiskThread | undefined;
  readonly shares: ShareThread | undefined;
  /** A command of this side runs in the guest. */
  readonly hasSession: boolean;
}

const MIN_DOWNTIME_MS = 20;
const MIN_BYTES_PER_SECOND = 64 * 1024;
/** What is handed over of typed input; the rest would not fit the guest's serial port for minutes either. */
const MAX_INPUT_BYTES = 512 * 1024;

export class OutgoingMigration {
  readonly #vm: OutgoingVm;
  readonly #target: string;
  readonly #options: MigrateVmOptions;
  #isUndecided = false;
  #wasRunning = true;

  constructor(vm: OutgoingVm, target: string, options: MigrateVmOptions) {
    this.#vm = vm;
    this.#target = target;
    this.#options = options;
  }

  /** It is not known here whether the VM runs at the target. */
  get isUndecided(): boolean {
    return this.#isUndecided;
  }

  get wasRunning(): boolean {
    return this.#wasRunning;
  }

  async run(): Promise<MigrationResult> {
    const { options, obstacles } = await this.#prepare();
    if (obstacles.length > 0) {
      const list = obstacles.map(({ message }) => message).join(" ");
      throw new MigrationError("refused", `The VM cannot be migrated: ${list}`, { obstacles });
    }
    try {
      return await migrateVm(options);
    } catch (error) {
      if (error instanceof MigrationError && error.code === "undecided") this.#isUndecided = true;
      throw error;
    }
  }

  async probe(): Promise<readonly MigrationObstacle[]> {
    const { options, obstacles } = await this.#prepare();
    return [...obstacles, ...(await probeTarget(options))];
  }

  /** Precondition: `isUndecided`. */
  async decide(choice: MigrationChoice): Promise<void> {
    const { machine, serial, disks, shares } = this.#vm;
    this.#isUndecided = false;
    if (choice === "run") {
      await disks?.openAgain();
      await shares?.open();
      await machine.command("goOn", undefined);
      await machine.command("track", { isOn: false });
      serial.uncork();
    } else await machine.command("give", { to: this.#target });
  }

  async #prepare(): Promise<{ readonly options: MigrateOptions; readonly obstacles: readonly MigrationObstacle[] }> {
    const { signal, onProgress } = this.#options;
    const address = parseAddress(this.#target);
    const tls = await readSecurity(address, this.#options);
    const limits = limitsOf(this.#options, address);
    const description = await this.#vm.machine.command("describe", undefined);
    const id = randomBytes(MIGRATION_ID_BYTES);
    await markMigration(keyOf(id));
    const options: MigrateOptions = {
      vm: this.#source(description),
      version: libraryVersion(),
      id,
      connect: () => connectLink(address, tls, limits.stallMs),
      time: NODE_TIME,
      compressor: ZLIB_COMPRESSOR,
      limits,
      cancel: cancelBy(signal),
      ...(onProgress && { onProgress: throttled(onProgress) }),
    };
    return { options, obstacles: this.#obstacles(description) };
  }

  #obstacles({ ram, isTracking, isRecording, engine }: MachineDescription): readonly MigrationObstacle[] {
    const found: MigrationObstacle[] = [];
    if (!ram || !isTracking) {
      found.push({
        code: "engine",
        message: `The ${engine} engine cannot move its guest's memory while the guest runs.`,
      });
    }
    if (isRecording) {
      found.push({
        code: "recording",
        message: "It is being recorded, and the recording could not go on at the target.",
      });
    }
    if (this.#vm.disks?.hasScratch) {
      found.push({
        code: "disk",
        message: "What its guest wrote to an ephemeral disk is kept by this process alone.",
      });
    }
    if (this.#vm.hasSession) {
      found.push({
        code: "session",
        message: "A command that was started from here runs in the guest; wait for its end.",
      });
    }
    return found;
  }

  #source({ engine, forms, ram }: MachineDescription): SourceVm {
    const { name, spec, machine, serial, disks, shares } = this.#vm;
    const pages = engineRamOf(spec).memoryBytes / PAGE_BYTES;
    let input: Uint8Array = new Uint8Array(0);
    const shared = new SharedArrayBuffer(pages);
    const view = new Uint8Array(shared);
    const marked = (into: Uint8Array): void => {
      for (let page = view.indexOf(1); page >= 0; page = view.indexOf(1, page + 1)) into[page] = 1;
      view.fill(0);
    };
    return {
      name,
      spec,
      engine,
      forms,
      ram: ram ?? new Uint8Array(0),
      track: async (isOn) => void (await machine.command("track", { isOn })),
      takeDirty: async (into) => {
        const count = await machine.command("takeDirty", { into: shared });
        marked(into);
        return count;
      },
      throttle: async (share) => void (await machine.command("throttle", { share })),
      stop: async (into) => {
        serial.cork();
        const stopped = await machine.command("handOver", { into: shared });
        await disks?.suspend();
        await shares?.suspend();
        input = stopped.input;
        this.#wasRunning = !stopped.isPaused;
        marked(into);
        return stopped;
      },
      goOn: async () => {
        await disks?.openAgain();
        await shares?.open();
        await machine.command("goOn", undefined);
        serial.uncork();
      },
      takeInput: () => new Uint8Array(Buffer.concat([input, ...serial.unsent]).subarray(0, MAX_INPUT_BYTES)),
      give: async () => void (await machine.command("give", { to: this.#target })),
    };
  }
}

function limitsOf(options: MigrateVmOptions, address: MigrationAddress): MigrationLimits {
  const { maxDowntimeMs, bytesPerSecond } = options;
  if (maxDowntimeMs !== undefined && !(maxDowntimeMs >= MIN_DOWNTIME_MS && maxDowntimeMs <= 60_000)) {
    throw badOption(`A guest cannot stand still for at most ${maxDowntimeMs} ms. Give ${MIN_DOWNTIME_MS} to 60000.`);
  }
  if (bytesPerSecond !== undefined && !(bytesPerSecond >= MIN_BYTES_PER_SECOND)) {
    throw badOption(
      `A bandwidth of ${bytesPerSecond} bytes a second is too little. Give ${MIN_BYTES_PER_SECOND} or more.`,
    );
  }
  const given = Object.fromEntries(
    (Object.keys(DEFAULT_MIGRATION_LIMITS) as (keyof MigrateVmOptions & keyof MigrationLimits)[])
      .filter((key) => options[key] !== undefined)
      .map((key) => [key, options[key]]),
  ) as { -readonly [K in keyof MigrationLimits]?: MigrationLimits[K] };
  // Within one host copying is cheaper than any compression.
  const isLocal = address.kind === "unix" && bytesPerSecond === undefined;
  if (isLocal && (given.compression ?? "auto") === "auto") given.compression = "never";
  return { ...DEFAULT_MIGRATION_LIMITS, ...given, ...(bytesPerSecond !== undefined && { bytesPerSecond }) };
}

const PROGRESS_MS = 100;

/** Now and then, and at each change of phase or round; what the listener throws is its own matter. */
function throttled(listener: (progress: MigrationProgress) => void): (progress: MigrationProgress) => void {
  let toldMs = 0;
  let told = "";
  return (progress) => {
    const nowMs = performance.now();
    const key = `${progress.phase} ${progress.round}`;
    if (key === told && nowMs - toldMs < PROGRESS_MS) return;
    told = key;
    toldMs = nowMs;
    queueMicrotask(() => listener(progress));
  };
}
