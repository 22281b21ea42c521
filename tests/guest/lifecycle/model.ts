/**
 * The life of named VMs as a model beside the real ones: each step does a verb to both, and they agree on whether it may be
 * done and on what comes of it. Guests are a few instructions; what a disk holds is a word that the test writes to it while its
 * VM is off, and that has to be there at every look from then on, in the VM and in its clones.
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  hasProcess,
  keptDisks,
  type LifecycleState,
  type LifecycleVerb,
  NamedVms,
  openNodeDisk,
  VmStore,
} from "../../../packages/host/src/index.ts";
import { isAllowed } from "../../../packages/host/src/lifecycle/index.ts";
import type { DiskFormat } from "../../../packages/storage/src/index.ts";
import { repository } from "../../clone.ts";
import { bareKernel, GUESTS } from "../bare-kernel.ts";

const SHIM = join(repository, "packages", "cli", "bin", "twinmetal.mjs");
const DISK_BYTES = 64 * 1024;
const STOP = { timeoutMs: 100, force: true };
const SETTLE_MS = 30_000;
/** As old as what is swept. */
const LONG_AGO = 1;

/** asleep runs until it is ended; the others are over by themselves. */
export const KINDS = ["asleep", "hello", "tripleFaulting"] as const;
export type Kind = (typeof KINDS)[number];

export interface ModelVm {
  readonly kind: Kind;
  state: LifecycleState;
  word: number;
}

/** A real one. */
export interface SeenVm extends ModelVm {
  readonly id: string;
}

export type Model = Map<string, ModelVm>;

/** What is done to VMs: by these verbs, and by `create`, `write` (to a disk) and `die` (its process is killed). */
export type Verb = Exclude<LifecycleVerb, "restart"> | "create" | "write" | "die";

export interface Step {
  readonly verb: Verb;
  readonly name: string;
  /** Of create, clone and rename; else not used. */
  readonly to: string;
  readonly kind: Kind;
  readonly word: number;
}

/** States that last for a moment; a process that was killed hangs up before its lock is free. */
const PASSING: ReadonlySet<LifecycleState> = new Set(["starting", "stopping", "silent"]);
const REFUSED = new Set(["bad-state", "no-such-vm", "name-in-use"]);

/** Whether the step may be done, and the model after it. Only where nothing else goes on. */
export function foresee(model: Model, { verb, name, to, kind, word }: Step): boolean {
  const vm = model.get(name);
  if (verb === "create") {
    if (vm) return false;
    model.set(name, { kind, state: "off", word: 0 });
    return true;
  }
  if (!vm) return false;
  if (verb === "write") {
    if (hasProcess(vm.state)) return false;
    vm.word = word;
    return true;
  }
  if (verb === "die") {
    if (!hasProcess(vm.state)) return false;
    vm.state = "crashed";
    return true;
  }
  if (!isAllowed(verb, vm.state) || ((verb === "clone" || verb === "rename") && model.has(to))) return false;
  switch (verb) {
    case "start":
      vm.state = vm.kind === "asleep" ? "running" : vm.kind === "hello" ? "off" : "crashed";
      break;
    case "stop":
    case "kill":
      vm.state = "off";
      break;
    case "pause":
      vm.state = "paused";
      break;
    case "resume":
      vm.state = "running";
      break;
    case "save":
      vm.state = "saved";
      break;
    case "rm":
      model.delete(name);
      break;
    case "rename":
      model.delete(name);
      model.set(to, vm);
      break;
    case "clone":
      model.set(to, { ...vm, state: hasProcess(vm.state) || vm.state === "saved" ? "saved" : "off" });
      break;
    case "reset":
      break;
  }
  return true;
}

/** The real VMs of one home, whose processes are the built program's. */
export class Reality {
  readonly home: string;
  readonly vms: NamedVms;
  readonly #store: VmStore;
  readonly #env: NodeJS.ProcessEnv;

  constructor() {
    this.home = mkdtempSync(join(tmpdir(), "tm-model-"));
    this.#env = { ...process.env, TWINMETAL_HOME: this.home, TWINMETAL_TRANSLATION_CACHE: "off" };
    // Processes that are started inherit it.
    process.env["TWINMETAL_HOME"] = this.home;
    this.#store = new VmStore(join(this.home, "vms"));
    this.vms = new NamedVms((name) => ({ program: process.execPath, args: [SHIM, "vm-process", name] }), this.#store);
    for (const kind of KINDS) writeFileSync(join(this.home, kind), bareKernel(GUESTS[kind]));
    mkdirSync(join(this.home, "disks"));
    mkdirSync(this.#store.root);
  }

  /** Resolves with whether it was done; rejects where that is for another reason than the VM's state or name. */
  async step(step: Step): Promise<boolean> {
    try {
      await this.#do(step);
      return true;
    } catch (error) {
      if (REFUSED.has((error as { code?: string }).code ?? "")) return false;
      // It has run, and crashed at once.
      if (step.verb === "start" && /it crashed at once/.test((error as Error).message)) return true;
      throw error;
    }
  }

  async #do({ verb, name, to, kind, word }: Step): Promise<unknown> {
    switch (verb) {
      case "create":
        return await this.#create(name, kind);
      case "write":
        return await this.#write(name, word);
      case "die":
        return await this.#die(name);
      case "stop":
        return await this.vms.stop(name, STOP);
      case "save":
        return await this.vms.save(name, undefined);
      case "rm":
        return await this.vms.remove(name);
      case "clone": {
        const spec = await this.#store.read(name);
        return await this.vms.clone(name, to, { spec, disks: disksOf(spec.options) });
      }
      case "rename":
        return await this.vms.rename(name, to);
      default:
        return await this.vms[verb](name);
    }
  }

  async #create(name: string, kind: Kind): Promise<void> {
    const disk = join(this.home, "disks", `${name}-${readdirSync(join(this.home, "disks")).length}.img`);
    await this.#store.create(name, {
      directory: this.home,
      options: { kernel: kind, disk: [disk], memory: "16M", engine: "jit", tier: "interp" },
    });
    writeFileSync(disk, new Uint8Array(DISK_BYTES));
  }

  /** The process is not asked. */
  async #die(name: string): Promise<void> {
    const { pid, state } = await this.vms.observe(name);
    if (pid === undefined) throw Object.assign(new Error(`${name} is ${state}`), { code: "bad-state" });
    killQuietly(pid);
    while (hasProcess((await this.vms.observe(name)).state)) await sleep(20);
  }

  async #write(name: string, word: number): Promise<void> {
    if (hasProcess((await this.vms.observe(name)).state))
      throw Object.assign(new Error(`${name} runs`), { code: "bad-state" });
    const { disk } = await openNodeDisk(...(await this.#disk(name)));
    const bytes = new Uint8Array(512);
    new DataView(bytes.buffer).setUint32(0, word);
    await disk.write(0, bytes);
    await disk.close();
  }

  /** What the VM's disk holds; of one that runs, as well. */
  async word(name: string): Promise<number> {
    const [path, { format }] = await this.#disk(name);
    const { disk } = await openNodeDisk(path, { format, isReadOnly: true, lock: false });
    const bytes = new Uint8Array(512);
    await disk.read(0, bytes);
    await disk.close();
    return new DataView(bytes.buffer).getUint32(0);
  }

  async #disk(name: string): Promise<[path: string, options: { readonly format: DiskFormat }]> {
    const { options } = await this.#store.read(name);
    const [disk] = await keptDisks(this.#store.folder(name), disksOf(options), false);
    return [disk!.path, { format: disk!.format! }];
  }

  /** Of all VMs, once none is on its way to another state. */
  async settled(): Promise<ReadonlyMap<string, Readonly<SeenVm>>> {
    const found = new Map<string, SeenVm>();
    for (const name of await this.#store.names()) {
      const { id, options } = await this.#store.read(name);
      const kind = options["kernel"] as Kind;
      const isBrief = kind !== "asleep";
      const deadlineMs = performance.now() + SETTLE_MS;
      let { state } = await this.vms.observe(name);
      while (PASSING.has(state) || (isBrief && state === "running")) {
        if (performance.now() > deadlineMs) throw new Error(`${name} stays ${state}`);
        await sleep(20);
        ({ state } = await this.vms.observe(name));
      }
      found.set(name, { id, kind, state, word: await this.word(name) });
    }
    return found;
  }

  /** `twinmetal WORDS` in a process of its own. */
  program(words: readonly string[]): ChildProcess {
    return spawn(process.execPath, [SHIM, ...words], { env: this.#env, cwd: this.home, stdio: "ignore" });
  }

  /** Ends all, and tells what is left that belongs to nobody: processes, files. */
  async orphans(): Promise<readonly string[]> {
    for (const { name } of await this.vms.list()) await this.vms.remove(name, { force: true });
    // What killed commands have left on its way is swept when it is old.
    for (const entry of readdirSync(this.#store.root)) utimesSync(join(this.#store.root, entry), LONG_AGO, LONG_AGO);
    await this.#store.create("last", { directory: this.home, options: {} });
    await this.vms.remove("last");
    const locks = join(this.#store.root, ".locks");
    const left = readdirSync(this.#store.root, { recursive: true, encoding: "utf8" }).filter(
      (path) => path !== ".locks" && path !== ".bases",
    );
    // A killed command's lock is stale, and taken by whoever comes next.
    const stale = new Set(readdirSync(locks).map((name) => join(".locks", name)));
    return [...left.filter((path) => !stale.has(path)), ...processesIn(this.home).map((pid) => `process ${pid}`)];
  }

  close(): void {
    for (const pid of processesIn(this.home)) killQuietly(pid);
    delete process.env["TWINMETAL_HOME"];
    rmSync(this.home, { recursive: true, force: true });
  }
}

function disksOf(options: Readonly<Record<string, unknown>>): { readonly path: string; readonly format: "raw" }[] {
  return (options["disk"] as readonly string[]).map((path) => ({ path, format: "raw" }));
}

export function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** Processes of VMs and commands: this home is theirs, and no other. */
function processesIn(home: string): readonly number[] {
  const pids = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid);
  return pids.map(Number).filter((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
      const runs = readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("twinmetal");
      return runs && environment.includes(`TWINMETAL_HOME=${home}`) && readlinkSync(`/proc/${pid}/exe`) !== "";
    } catch {
      return false;
    }
  });
}
