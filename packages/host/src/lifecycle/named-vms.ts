/**
 * The life of named VMs, without a server: every command finds them in their folders, asks the process of one that runs, and
 * starts one for one that does not. Commands that change more than a running VM's state exclude each other by its lock.
 */
import { existsSync } from "node:fs";
import { copyFile, rm } from "node:fs/promises";
import { askControl } from "../control/control-client.ts";
import type { DiskOptions } from "../disk/disk-protocol.ts";
import type { VmProgress } from "../vm/vm.ts";
import { keptDisks, writtenImage } from "./kept-disks.ts";
import { LifecycleError } from "./lifecycle-error.ts";
import { takeClone, takeState } from "./outgoing-state.ts";
import { keepDiscs, savedDiscs } from "./saved-discs.ts";
import { copyState, hasSavedState } from "./saved-state.ts";
import { shareDisks, sweepBases } from "./shared-disks.ts";
import { hasProcess, type LifecycleVerb, requireAllowed } from "./states.ts";
import type { VmFolder } from "./vm-folder.ts";
import { observeVm, type VmObservation } from "./vm-observation.ts";
import { killProcess, type ProcessLaunch, processEnded, startProcess } from "./vm-process.ts";
import { timeToLive, type VmSpec } from "./vm-spec.ts";
import { noSuchVm, VmStore } from "./vm-store.ts";

const ANSWER_MS = 30_000;
/** What is orderly about a kill has to be quick. */
const KILL_MS = 5000;
const END_MS = 20_000;

export interface StartVmOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: VmProgress) => void;
}

export interface CloneVmOptions extends StartVmOptions {
  /** What the clone is made of. */
  readonly spec: Pick<VmSpec, "directory" | "image" | "options">;
  /** The original's, beside its image, as its spec names them. */
  readonly disks: readonly DiskOptions[];
}

export interface StopVmOptions {
  readonly timeoutMs: number;
  /** Ended as by pulling the plug where the guest has not turned off by then. */
  readonly force: boolean;
  readonly signal?: AbortSignal;
}

/** Methods reject with LifecycleError, and with what the VM's process answers. */
export class NamedVms {
  readonly store: VmStore;
  readonly #launch: (name: string) => ProcessLaunch;
  /** Told when another command at the same VM is waited for. */
  onWait: (name: string, pid: number | undefined) => void = () => {};

  constructor(launch: (name: string) => ProcessLaunch, store: VmStore = new VmStore()) {
    this.#launch = launch;
    this.store = store;
  }

  async observe(name: string): Promise<VmObservation> {
    if (!(await this.store.has(name))) {
      this.store.folder(name);
      throw noSuchVm(name);
    }
    return await observeVm(this.store.folder(name));
  }

  async list(): Promise<readonly VmObservation[]> {
    return await Promise.all((await this.store.names()).map((name) => observeVm(this.store.folder(name))));
  }

  /** What it is made of, from its next start on; nobody else changes it meanwhile. */
  async change(name: string, action: (spec: VmSpec) => VmSpec | Promise<VmSpec>): Promise<VmSpec> {
    return await this.#alone([name], async () => {
      const spec = await action(await this.store.read(name));
      await this.store.write(name, spec);
      return spec;
    });
  }

  async start(name: string, options: StartVmOptions = {}): Promise<VmObservation> {
    return await this.#alone([name], () => this.#start(name, options));
  }

  async #start(name: string, options: StartVmOptions): Promise<VmObservation> {
    await this.#require("start", name);
    const spec = await this.store.read(name);
    requireTimeToLive(name, spec);
    const { directory } = spec;
    return await startProcess(this.store.folder(name), directory, this.#launch(name), options);
  }

  async stop(name: string, options: StopVmOptions): Promise<VmObservation> {
    await this.#require("stop", name);
    await this.#stop(name, options);
    return await this.observe(name);
  }

  async #stop(name: string, { timeoutMs, force, signal }: StopVmOptions): Promise<void> {
    const folder = this.store.folder(name);
    try {
      await askControl(folder.socket, { command: "stop", timeoutMs, force }, { signal });
    } catch (error) {
      // It may end before the answer is out.
      if (!(await processEnded(folder, 0))) throw error;
    }
    if (!(await processEnded(folder, END_MS, signal))) throw noEnd(name);
  }

  async restart(name: string, options: StopVmOptions & StartVmOptions): Promise<VmObservation> {
    return await this.#alone([name], async () => {
      await this.#require("restart", name);
      requireTimeToLive(name, await this.store.read(name));
      await this.#stop(name, options);
      return await this.#start(name, options);
    });
  }

  async pause(name: string): Promise<VmObservation> {
    return await this.#ask("pause", name);
  }

  async resume(name: string): Promise<VmObservation> {
    return await this.#ask("resume", name);
  }

  async reset(name: string): Promise<VmObservation> {
    return await this.#ask("reset", name);
  }

  /**
   * Its state is kept in its folder, from which it goes on with the next start, and it ends. With a path its state is in that
   * file, and it goes on: only where it writes to no disk.
   */
  async save(name: string, path: string | undefined, options: StartVmOptions = {}): Promise<VmObservation> {
    return await this.#alone([name], async () => {
      const { isSandboxed, discs } = await this.#require("save", name);
      const folder = this.store.folder(name);
      if (path === undefined) {
        await keepDiscs(folder, discs);
        await this.#saveAndEnd(folder, options);
      } else if (isSandboxed) await takeState(folder, path, options);
      else {
        const { signal, onProgress: onSaving } = options;
        await askControl(folder.socket, { command: "save", path }, { signal, onSaving });
      }
      return await this.observe(name);
    });
  }

  async #saveAndEnd(folder: VmFolder, { signal, onProgress: onSaving }: StartVmOptions): Promise<void> {
    try {
      await askControl(folder.socket, { command: "save" }, { signal, onSaving });
    } catch (error) {
      // It may end before the answer is out.
      if (!(await processEnded(folder, 0)) || !hasSavedState(folder)) throw error;
    }
    if (!(await processEnded(folder, END_MS, signal))) throw noEnd(folder.name);
  }

  /**
   * Another VM with the same disks, copy-on-write, and the state of one that runs or was saved, from which it goes on with its
   * first start. One that runs stands still meanwhile.
   */
  async clone(name: string, to: string, options: CloneVmOptions): Promise<VmObservation> {
    return await this.#alone([name, to], async () => {
      const seen = await this.#require("clone", name);
      const bases = await this.store.lockBases();
      try {
        await this.store.create(to, options.spec, (folder) =>
          this.#fillClone(this.store.folder(name), seen, folder, options),
        );
      } finally {
        await bases.release();
      }
      return await this.observe(to);
    });
  }

  async #fillClone(own: VmFolder, seen: VmObservation, folder: VmFolder, options: CloneVmOptions): Promise<void> {
    const { state, isSandboxed, discs } = seen;
    const { signal, onProgress: onSaving } = options;
    if (isSandboxed) await takeClone(own, folder, options);
    else if (hasProcess(state)) {
      const request = { command: "clone", from: own.path, to: folder.path } as const;
      await askControl(own.socket, request, { signal, onSaving });
    } else {
      const disks = [writtenImage(own), ...(await keptDisks(own, options.disks, true))];
      await shareDisks(own, folder, disks, { directory: (await this.store.read(own.name)).directory });
      if (state === "saved") await copyState(own.saved, folder.saved, options);
    }
    await keepDiscs(folder, hasProcess(state) ? discs : await savedDiscs(own));
    if (existsSync(own.variables)) await copyFile(own.variables, folder.variables);
  }

  /** As by pulling the plug; a process that does not answer is ended from outside. A state that was saved is thrown away. */
  async kill(name: string): Promise<VmObservation> {
    const { state } = await this.#require("kill", name);
    const folder = this.store.folder(name);
    if (state === "saved") {
      // The record may be of a process that was killed when it had saved the VM: that is no crash any more.
      for (const path of [folder.run, folder.saved]) await rm(path, { force: true });
    }
    try {
      await askControl(folder.socket, { command: "kill" }, { timeoutMs: KILL_MS });
    } catch {
      // Its end is what counts.
    }
    if (!(await processEnded(folder, KILL_MS))) await killProcess(folder);
    return await this.observe(name);
  }

  async rename(name: string, to: string): Promise<VmObservation> {
    return await this.#alone([name, to], async () => {
      await this.#require("rename", name);
      await this.store.rename(name, to);
      return await this.observe(to);
    });
  }

  /** With all that is in its folder. `force`: one that runs is killed before. */
  async remove(name: string, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.#alone([name], async () => {
      if (options.force && hasProcess((await this.observe(name)).state)) await this.kill(name);
      await this.#require("rm", name);
      await this.store.remove(name);
      await this.#sweepBases();
    });
  }

  async #sweepBases(): Promise<void> {
    const bases = await this.store.lockBases();
    try {
      await sweepBases(this.store.root);
    } finally {
      await bases.release();
    }
  }

  async #ask(verb: "pause" | "resume" | "reset", name: string): Promise<VmObservation> {
    await this.#require(verb, name);
    await askControl(this.store.folder(name).socket, { command: verb }, { timeoutMs: ANSWER_MS });
    return await this.observe(name);
  }

  async #require(verb: LifecycleVerb, name: string): Promise<VmObservation> {
    const seen = await this.observe(name);
    const { state } = seen;
    if (state === "silent" && verb !== "kill") {
      throw new LifecycleError("no-answer", `VM ${name} does not answer. It can be ended with: twinmetal kill ${name}`);
    }
    requireAllowed(verb, state, name);
    return seen;
  }

  /** Locks in one order, so that two commands never wait for each other. */
  async #alone<T>(names: readonly string[], action: () => Promise<T>): Promise<T> {
    const locks: Awaited<ReturnType<VmStore["lock"]>>[] = [];
    try {
      for (const name of [...new Set(names)].sort())
        locks.push(await this.store.lock(name, (pid) => this.onWait(name, pid)));
      return await action();
    } finally {
      for (const lock of locks.reverse()) await lock.release();
    }
  }
}

function requireTimeToLive(name: string, spec: VmSpec): void {
  const leftMs = timeToLive(spec);
  if (leftMs === undefined || leftMs > 0) return;
  throw new LifecycleError(
    "expired",
    `The time to live of VM ${name} was over at ${spec.expiresAt}. Remove it (twinmetal rm ${name}), or give it more time: twinmetal set ${name} ttl=1d`,
  );
}

function noEnd(name: string): LifecycleError {
  return new LifecycleError(
    "no-answer",
    `VM ${name} is off, but its process does not end. End it with: twinmetal kill ${name}`,
  );
}
