/**
 * Waiting for a VM that comes from another process: listens, takes one VM, and goes on answering what has become of it
 * for as long as it lives (docs/migration.md). What a peer sends is checked by core before anything of it is used.
 */
import {
  checkSpec,
  type Destination,
  engineRamOf,
  type Fate,
  type HeldVm,
  type Hello,
  type IncomingVm,
  type MachineSpec,
  MigrationError,
  type MigrationLink,
  type MigrationObstacle,
  type Reception,
  type Release,
  receiveVm as receive,
  type Tier,
} from "@twinmetal/core";
import type { DiskOptions } from "../disk/disk-protocol.ts";
import { disksOfSpec, type SpecDisks } from "../disk/vm-disks.ts";
import type { NetworkOptions } from "../network/network-protocol.ts";
import type { NetworkThread } from "../network/network-thread.ts";
import { networksOfSpec } from "../network/vm-networks.ts";
import { checkLimits, type VmLimits } from "../resources/vm-limits.ts";
import type { ShareOptions } from "../share/share-protocol.ts";
import type { ShareThread } from "../share/share-thread.ts";
import { sharesOfSpec } from "../share/vm-shares.ts";
import { findBootFiles } from "../vm/boot-files.ts";
import { type EngineWish, engineFor } from "../vm/engine-choice.ts";
import { HostedVm } from "../vm/hosted-vm.ts";
import { checkSlice, defaultSliceNs } from "../vm/slice-time.ts";
import { cacheSettings } from "../vm/translation-settings.ts";
import type { TranslationCacheChoice, Vm } from "../vm/vm.ts";
import { type MigrationAddress, type MigrationSecurity, parseAddress, readSecurity } from "./address.ts";
import { type LinkListener, listenForLinks } from "./connecting.ts";
import { formDifferences } from "./form-differences.ts";
import { NODE_TIME, ZLIB_COMPRESSOR } from "./node-world.ts";
import { keyOf, type MigrationChoice } from "./outgoing.ts";
import { libraryVersion } from "./version.ts";

export interface ReceiveVmOptions extends MigrationSecurity {
  /** As for a restore: what the VM was started from, which only a reset needs. */
  readonly kernel?: string;
  readonly initrd?: string;
  readonly firmware?: string;
  /** The images of its disks, which its source has open until it stops: on storage that both reach. */
  readonly disks?: readonly DiskOptions[];
  /** As for a restore. */
  readonly networks?: readonly NetworkOptions[];
  /** Its shared folders, in their order: folders that both sides reach, or copies. */
  readonly shares?: readonly ShareOptions[];
  /** Default: the name it comes with. */
  readonly name?: string;
  readonly sliceNs?: number;
  readonly tier?: Tier;
  /** As for a new VM. A VM of one engine goes on in the other. */
  readonly engine?: EngineWish;
  readonly translationCache?: TranslationCacheChoice;
  /** The most memory a VM may bring. */
  readonly maxMemoryBytes?: number;
  readonly limits?: VmLimits;
  /** Asked before anything of a VM is taken; a rejection is told its source. `migration`: for `admitVm`. */
  readonly admit?: (coming: {
    readonly spec: MachineSpec;
    readonly name: string;
    readonly migration: string;
  }) => Promise<void>;
  /** The VM that was admitted has not come after all. */
  readonly withdraw?: () => Promise<void>;
  /** A source that is silent for so long is gone; default 10 s. */
  readonly stallMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
  /** Somebody can connect; with the port that was chosen where 0 was asked for. */
  readonly onListening?: (address: MigrationAddress) => void;
  /** A migration came to nothing; the next may come. */
  readonly onFailed?: (error: MigrationError) => void;
  readonly onProgress?: (progress: { readonly round: number; readonly pages: number }) => void;
  /**
   * The whole VM is here, and its source was lost before it said which side goes on. It stays as it is until the source
   * asks for it, or `decide` is called: "run" only if the VM does not run at the source and never will.
   */
  readonly onHeld?: (why: MigrationError, decide: (choice: MigrationChoice) => Promise<void>) => void;
}

const GREET_MS = 10_000;
const STALL_MS = 10_000;
/** Of attempts whose end is remembered. */
const MAX_FATES = 1000;

/** Resolves with a VM that runs (or is paused, if it was). Rejects with MigrationError, or the signal's reason. */
export async function receiveVm(address: string, options: ReceiveVmOptions = {}): Promise<Vm> {
  options.signal?.throwIfAborted();
  checkSlice(options.sliceNs);
  checkLimits(options.limits ?? {});
  const parsed = parseAddress(address);
  const tls = await readSecurity(parsed, options);
  const waiting = new Incoming(options);
  const onRefused = (error: MigrationError): void => options.onFailed?.(error);
  const listener = await listenForLinks(parsed, tls, (link) => void waiting.accept(link), onRefused);
  options.onListening?.(listener.address);
  return await waiting.vm(listener);
}

interface Coming extends IncomingVm {
  readonly vm: HostedVm;
}

class Incoming implements Destination {
  readonly version = libraryVersion();
  /** Of the VM that came last. */
  engine: "jit" | "kvm" = "jit";
  readonly #options: ReceiveVmOptions;
  readonly #fates = new Map<string, "held" | "running" | "returned">();
  readonly #links = new Set<MigrationLink>();
  #isBusy = false;
  #held: (HeldVm & { readonly vm: Coming }) | undefined;
  #arrived: HostedVm | undefined;
  #resolve: (vm: HostedVm) => void = () => {};

  constructor(options: ReceiveVmOptions) {
    this.#options = options;
  }

  async vm(listener: LinkListener): Promise<Vm> {
    const { signal } = this.#options;
    let onAbort = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal?.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
    try {
      const arrived = new Promise<HostedVm>((resolve) => {
        this.#resolve = resolve;
      });
      if (this.#arrived) this.#resolve(this.#arrived);
      const vm = await Promise.race([arrived, aborted]);
      listener.unref();
      vm.on("exit", () => void listener.close());
      return vm;
    } catch (error) {
      for (const link of this.#links) link.close();
      await this.#held?.vm.discard();
      await listener.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async accept(link: MigrationLink): Promise<void> {
    const { stallMs = STALL_MS, onProgress, onFailed, onHeld } = this.#options;
    this.#links.add(link);
    let reception: Reception;
    try {
      const compressor = ZLIB_COMPRESSOR;
      reception = await receive({
        link,
        destination: this,
        time: NODE_TIME,
        compressor,
        stallMs,
        greetMs: GREET_MS,
        onProgress,
      });
    } catch (error) {
      onFailed?.(error as MigrationError);
      return;
    } finally {
      this.#links.delete(link);
    }
    if (reception.kind === "running") this.#arrive((reception.vm as Coming).vm);
    if (reception.kind !== "held") return;
    const held = { ...reception.held, vm: reception.held.vm as Coming };
    this.#held = held;
    onHeld?.(reception.why, (choice) => this.#decide(held, choice));
  }

  async prepare(hello: Hello): Promise<Coming | readonly MigrationObstacle[]> {
    const obstacles = this.#obstacles(hello);
    if (obstacles.length > 0) return obstacles;
    this.#isBusy = true;
    try {
      await this.#options.admit?.({ spec: hello.spec, name: safeName(hello.name), migration: keyOf(hello.id) });
      return await this.#build(hello);
    } catch (error) {
      await this.#release();
      const { code, message } = error as { code?: unknown; message: string };
      if (typeof code !== "string" || code === "internal") throw error;
      return [{ code: OBSTACLES[code] ?? "spec", message }];
    }
  }

  async fateOf(id: Uint8Array): Promise<Fate> {
    const key = keyOf(id);
    const fate = this.#fates.get(key) ?? "unknown";
    const held = this.#held;
    if (fate !== "held") return fate;
    // Its source is there, and takes it back.
    if (!held || keyOf(held.id) !== key) return "unknown";
    this.onFate(id, "returned");
    await this.#discard(held);
    return "returned";
  }

  onFate(id: Uint8Array, fate: "held" | "running" | "returned"): void {
    const [oldest] = this.#fates.keys();
    if (this.#fates.size >= MAX_FATES && oldest !== undefined) this.#fates.delete(oldest);
    this.#fates.set(keyOf(id), fate);
  }

  #obstacles({ spec }: Hello): readonly MigrationObstacle[] {
    const { maxMemoryBytes } = this.#options;
    if (this.#arrived) return [{ code: "busy", message: "Another VM has arrived there already." }];
    if (this.#held) {
      const message = "The target holds a VM whose source was lost at the last step; its operator has to decide first.";
      return [{ code: "busy", message }];
    }
    if (this.#isBusy) return [{ code: "busy", message: "Another VM is arriving there." }];
    const found: MigrationObstacle[] = [];
    try {
      checkSpec(spec);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      const isFeature = code !== undefined && /cpu|feature/.test(code);
      found.push({ code: isFeature ? "cpu-feature" : "spec", message });
    }
    if (maxMemoryBytes !== undefined && engineRamOf(spec).memoryBytes > maxMemoryBytes) {
      const [wanted, most] = [engineRamOf(spec).memoryBytes, maxMemoryBytes].map((bytes) =>
        Math.floor(bytes / 2 ** 20),
      );
      found.push({
        code: "memory",
        message: `The VM has ${wanted} MiB of memory; the target takes at most ${most} MiB.`,
      });
    }
    return found;
  }

  async #build(hello: Hello): Promise<Coming | readonly MigrationObstacle[]> {
    const disks = disksOfSpec(hello.spec, this.#options.disks);
    const network = networksOfSpec(hello.spec, this.#options.networks);
    const shares = sharesOfSpec(hello.spec, this.#options.shares);
    const vm = await this.#create(hello, disks, network, shares).catch(async (error: unknown) => {
      // They have nothing open.
      await network?.close().catch(() => {});
      await shares?.close().catch(() => {});
      await disks?.thread.close().catch(() => {});
      throw error;
    });
    const { ram, forms } = await vm.machine.command("describe", undefined);
    const obstacles = [...formDifferences(hello.forms, forms), ...(ram ? [] : [NO_SHARED_MEMORY])];
    if (!ram || obstacles.length > 0) {
      await vm.close();
      await this.#release();
      return obstacles;
    }
    return {
      vm,
      ram,
      adopt: async (sections) => {
        await disks?.open();
        await shares?.open();
        await vm.machine.command("adopt", { sections });
        await vm.checkBays();
      },
      run: async ({ input, stoodUs }: Release, isPaused) => {
        if (input.length > 0) void vm.serial.write(input);
        await vm.machine.command("goOnHere", { stoodUs, isPaused });
        // A socket that cannot be made is a cable that is out: the guest is here, and goes on.
        await network?.open().catch(() => {});
      },
      discard: async () => {
        await vm.close().catch(() => {}); // Its thread may have ended.
        await this.#release();
      },
    };
  }

  /** The next may come. */
  async #release(): Promise<void> {
    await this.#options.withdraw?.();
    this.#isBusy = false;
  }

  async #create(
    { spec, name }: Hello,
    disks: SpecDisks | undefined,
    network: NetworkThread | undefined,
    shares: ShareThread | undefined,
  ): Promise<HostedVm> {
    const { signal, tier = "auto", translationCache } = this.#options;
    const files = await findBootFiles(spec, this.#options, { signal });
    const { engine } = engineFor({
      wish: this.#options.engine,
      clock: spec.clock,
      cpuFeatures: spec.cpuFeatures,
      isRecorded: false,
      hasTier: tier !== "auto",
      tscFrequencyHz: spec.tscFrequencyHz,
    });
    this.engine = engine;
    return await HostedVm.create({
      disks: disks?.thread,
      network,
      shares,
      name: this.#options.name ?? safeName(name),
      initialState: "paused",
      isIncoming: true,
      signal,
      limits: this.#options.limits,
      start: {
        spec,
        files,
        ring: disks?.thread.ring,
        frames: network?.ring,
        shareRing: shares?.ring,
        engine,
        tier,
        translationCache: cacheSettings(spec, translationCache),
        sliceNs: this.#options.sliceNs ?? defaultSliceNs(engine),
        statePath: undefined,
        advanceCalendarSeconds: 0,
        recordPath: undefined,
        replayPath: undefined,
      },
    });
  }

  #arrive(vm: HostedVm): void {
    this.#arrived = vm;
    this.#resolve(vm);
  }

  async #decide(held: HeldVm & { readonly vm: Coming }, choice: MigrationChoice): Promise<void> {
    if (this.#held !== held) throw new MigrationError("bad-state", "The VM that was held here is decided already.");
    if (choice === "discard") {
      this.onFate(held.id, "returned");
      await this.#discard(held);
      return;
    }
    this.#held = undefined;
    this.onFate(held.id, "running");
    await held.vm.run({ input: new Uint8Array(0), stoodUs: 0 }, held.isPaused);
    this.#arrive(held.vm.vm);
  }

  async #discard(held: HeldVm & { readonly vm: Coming }): Promise<void> {
    this.#held = undefined;
    await held.vm.discard();
  }
}

/** What a VM cannot be made for here. */
const OBSTACLES: Readonly<Record<string, MigrationObstacle["code"]>> = {
  "memory-unavailable": "memory",
  "kvm-unavailable": "engine",
  refused: "policy",
};

const NO_SHARED_MEMORY: MigrationObstacle = {
  code: "engine",
  message: "The target's engine has no memory that a VM could be put into.",
};

/** A peer's name for its VM, if it can be one. */
function safeName(name: string): string {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name) ? name : "vm-incoming";
}
