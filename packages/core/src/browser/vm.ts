/**
 * `createVm` for browsers: a machine in a web worker of its own, from a kernel's and an initrd's bytes. The same words as
 * the VM object of Node, as far as it goes: no files, no agent, no saving.
 */
import type { Tier } from "../engine/jit-engine.ts";
import type { DeviceSpec } from "../machine/device-spec.ts";
import type { MachineSpec } from "../machine/spec.ts";
import { machineSpec } from "../machine/spec.ts";
import type { CommandName, FromMachine, PlainError, ToMachine, VmEnd, VmStart, VmStats } from "./vm-protocol.ts";
import type { WebGlobals, WebWorker, WorkerConstructor } from "./web-platform.ts";

export interface VmOptions {
  /** A bzImage, and an initrd. Copied. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  /** Added to the kernel's command line, which is "console=ttyS0". */
  readonly append?: string;
  /** Default 256 MiB; 16 MiB to 3072 MiB. */
  readonly memoryBytes?: number;
  /** Features beyond the CPU model's, such as "aes", and with a "-" in front those it shall be without. Default: none. */
  readonly cpuFeatures?: readonly string[];
  /** Virtual processors, 1 (default) to 8, which take turns. */
  readonly cpus?: number;
  /** "wall" (default): guest time follows the browser's. "virtual": a function of the instructions alone. */
  readonly clock?: MachineSpec["clock"];
  /** Hexadecimal digits: the source of the guest's random numbers. Default: from the browser. */
  readonly seed?: string;
  /** Seconds since 1970 at power-on. Default: now. */
  readonly epochSeconds?: number;
  /** How guest code runs: "interp", the interpreter alone, or "auto" (default), with hot code translated in a worker. */
  readonly tier?: Tier;
  /** Default: virtio-rng. */
  readonly devices?: readonly DeviceSpec[];
  /** Disks by virtio-blk, in memory: whole sectors of 512 bytes. Copied; what the guest writes ends with the VM. */
  readonly disks?: readonly Uint8Array[];
}

export interface Vm {
  readonly state: "created" | "running" | "paused" | "off" | "crashed";
  /** Guest memory is shared memory, because the page is cross-origin isolated. */
  readonly hasSharedMemory: boolean;
  readonly serial: {
    /** Bytes that the guest writes. Returns what ends it. What nobody listens to is lost. */
    onData(listener: (bytes: Uint8Array) => void): () => void;
    /** Types. Resolves when the guest's port has taken all of it, or the machine has ended. */
    write(text: Uint8Array | string): Promise<void>;
  };
  /** Powers on. Resolves when the machine runs; rejects if kernel or initrd cannot be loaded. */
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  reset(): Promise<void>;
  /** Asks the guest by the power button and waits `timeoutMs` (default 10 s), then ends it. */
  stop(options?: { readonly timeoutMs?: number }): Promise<void>;
  /** Resolves when the machine is off or crashed. */
  wait(): Promise<VmEnd>;
  /** Counters by name: retired, guestNs, slices, turns, busyMs, outputBytes and those of the engine. */
  stats(): Promise<VmStats>;
  /** Ends the worker and frees everything. Idempotent. */
  close(): void;
}

/**
 * `code`: "closed", "internal", "memory-unavailable", "worker" (the worker's script did not load), "state", or what the
 * specification or the boot files were refused with.
 */
export class VmError extends Error {
  override readonly name = "VmError";
  readonly code: string;

  constructor({ code, message }: PlainError) {
    super(message);
    this.code = code;
  }
}

const MIB = 2 ** 20;
const DEFAULT_MEMORY_BYTES = 256 * MIB;
const SLICE_NS = 200_000;
const SEED_BYTES = 32;
const STOP_TIMEOUT_MS = 10_000;

// By these names, so that bundlers find the worker's script.
declare const Worker: WorkerConstructor;
declare const URL: new (path: string, base: string) => object;

/** Resolves when the machine is built. Rejects with VmError. */
export async function createVm(options: VmOptions): Promise<Vm> {
  const web = globalThis as unknown as WebGlobals;
  const start = startOf(options, web);
  const worker = new Worker(new URL("./vm-worker.js", import.meta.url), { type: "module", name: "twinmetal machine" });
  const vm = new WorkerVm(worker, web);
  try {
    await vm.create(start);
  } catch (error) {
    vm.close();
    throw error;
  }
  return vm;
}

function startOf(options: VmOptions, web: WebGlobals): VmStart {
  const { kernel, initrd, append, clock = "wall", cpuFeatures = [], cpus = 1, disks = [] } = options;
  const now = Math.floor((web.performance.timeOrigin + web.performance.now()) / 1000);
  try {
    const spec = machineSpec({
      memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY_BYTES,
      cpus,
      cpuFeatures: [...cpuFeatures].sort(),
      clock,
      seed: options.seed ?? randomDigits(web),
      epochSeconds: options.epochSeconds ?? now,
      devices: [...(options.devices ?? [{ kind: "virtio-rng", name: "rng0" }]), ...disks.map(diskSpec)],
    });
    const commandLine = append ? `console=ttyS0 ${append}` : "console=ttyS0";
    return {
      spec,
      files: { kernel, ...(initrd ? { initrd } : {}) },
      disks: Object.fromEntries(disks.map((bytes, index) => [diskName(index), bytes])),
      commandLine,
      sliceNs: SLICE_NS,
      tier: options.tier,
    };
  } catch (error) {
    const { code, message } = error as PlainError;
    throw new VmError({ code: code ?? "internal", message });
  }
}

const diskName = (index: number): string => `disk${index}`;

function diskSpec({ length }: Uint8Array, index: number): DeviceSpec {
  return { kind: "virtio-block", name: diskName(index), sizeBytes: length, isReadOnly: false, queues: 1 };
}

function randomDigits({ crypto }: WebGlobals): string {
  return [...crypto.getRandomValues(new Uint8Array(SEED_BYTES))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

interface Pending {
  resolve(stats: VmStats | undefined): void;
  reject(error: unknown): void;
}

const CREATION = 0;

class WorkerVm implements Vm {
  readonly hasSharedMemory: boolean;
  readonly serial: Vm["serial"];
  readonly #worker: WebWorker;
  readonly #web: WebGlobals;
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<VmEnd>;
  #resolveEnded: (end: VmEnd) => void = () => {};
  #state: Vm["state"] = "created";
  #nextId = CREATION + 1;
  #isClosed = false;

  constructor(worker: WebWorker, web: WebGlobals) {
    this.#worker = worker;
    this.#web = web;
    this.hasSharedMemory = web.crossOriginIsolated === true;
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    worker.onmessage = ({ data }) => this.#receive(data as FromMachine);
    worker.onerror = ({ message }) =>
      this.#lost({
        code: "worker",
        message: `The machine's worker failed: ${message ?? "its script could not be loaded"}.`,
      });
    this.serial = {
      onData: (listener) => {
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
      },
      write: async (text) => {
        const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
        await this.#ask(this.#nextId++, (id) => ({ type: "serial", id, bytes }));
      },
    };
  }

  get state(): Vm["state"] {
    return this.#state;
  }

  async create(start: VmStart): Promise<void> {
    await this.#ask(CREATION, () => ({ type: "create", start }));
  }

  async start(): Promise<void> {
    await this.#command("start");
    this.#nowRuns("running");
  }

  async pause(): Promise<void> {
    await this.#command("pause");
    this.#nowRuns("paused");
  }

  async resume(): Promise<void> {
    await this.#command("resume");
    this.#nowRuns("running");
  }

  async reset(): Promise<void> {
    await this.#command("reset");
  }

  async stop({ timeoutMs = STOP_TIMEOUT_MS }: { readonly timeoutMs?: number } = {}): Promise<void> {
    if (this.#state === "running") {
      await this.#command("powerButton");
      let timer: unknown;
      const timeout = new Promise<void>((resolve) => {
        timer = this.#web.setTimeout(resolve, timeoutMs);
      });
      await Promise.race([this.#ended, timeout]);
      this.#web.clearTimeout(timer);
    }
    if (this.#state === "off" || this.#state === "crashed") return;
    await this.#command("powerOff");
    await this.#ended;
  }

  wait(): Promise<VmEnd> {
    return this.#ended;
  }

  async stats(): Promise<VmStats> {
    return (await this.#command("stats")) ?? {};
  }

  close(): void {
    this.#lost({ code: "closed", message: "The VM was closed." });
  }

  #command(name: CommandName): Promise<VmStats | undefined> {
    return this.#ask(this.#nextId++, (id) => ({ type: "command", id, name }));
  }

  #ask(id: number, message: (id: number) => ToMachine): Promise<VmStats | undefined> {
    if (this.#isClosed) return Promise.reject(new VmError({ code: "closed", message: "The VM was closed." }));
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage(message(id));
    });
  }

  #nowRuns(state: "running" | "paused"): void {
    if (this.#state !== "off" && this.#state !== "crashed") this.#state = state;
  }

  #receive(message: FromMachine): void {
    switch (message.type) {
      case "created":
        this.#settle(CREATION, message.error, undefined);
        break;
      case "reply":
        this.#settle(message.id, message.error, message.stats);
        break;
      case "output":
        try {
          for (const listener of this.#listeners) listener(message.bytes);
        } finally {
          const taken: ToMachine = { type: "taken", sizeBytes: message.bytes.length };
          this.#worker.postMessage(taken);
        }
        break;
      case "end":
        this.#endedWith(message.end);
        break;
    }
  }

  #settle(id: number, error: PlainError | undefined, stats: VmStats | undefined): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (error) pending?.reject(new VmError(error));
    else pending?.resolve(stats);
  }

  #endedWith(end: VmEnd): void {
    if (this.#state === "off" || this.#state === "crashed") return;
    this.#state = end.kind;
    this.#resolveEnded(end);
  }

  /** There is no machine any more, on our own wish or not. */
  #lost(why: PlainError): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(new VmError(why));
    this.#pending.clear();
    this.#endedWith({ kind: why.code === "closed" ? "off" : "crashed", reason: why.message });
  }
}
