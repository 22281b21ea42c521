/** What is done for each request (control-request.ts), whoever asks: the VM's own methods, where its state allows them. */
import { closeSync, constants, openSync } from "node:fs";
import { MigrationError, type MigrationProgress } from "@twinmetal/core";
import type { EndChange } from "../lifecycle/end-change.ts";
import { type LifecycleState, requireAllowed } from "../lifecycle/states.ts";
import type { MigrationChoice } from "../migration/outgoing.ts";
import { changeResources } from "../resources/resource-change.ts";
import type { Vm, VmProgress } from "../vm/vm.ts";
import { type ControlStatus, memoryOf, registersAnswer, screenOf } from "./control-answers.ts";
import { badRequest, ControlError } from "./control-error.ts";
import type { ControlOptions, ControlRequest, PlugNetwork } from "./control-request.ts";
import { type ControlChannel, serveConsole, serveExec, servePack, serveUnpack } from "./control-streams.ts";
import { cloneTo, type FolderStates, handOut, type SavingHooks, saveInFolder, saveTo } from "./save-and-clone.ts";

/** Who asks. */
export interface ControlConnection {
  /** Aborted when they are gone. */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: MigrationProgress) => void;
  /** Of "save" and "clone". */
  readonly onSaving?: (progress: VmProgress) => void;
  /** Of what has bytes that flow: control-streams.ts. */
  readonly channel?: ControlChannel;
}

const IN_SANDBOX = "runs in its sandbox, where its process";

/** Of one VM's process, and of all its control sockets. What it is for changes: a VM comes, is held, goes. */
export class VmControl {
  vm: Vm | undefined;
  /** What the VM's making is at. */
  progress: VmProgress | undefined;
  /** Gives the making up. */
  giveUp: () => void = () => {};
  /** A copy that came in and whose source was lost (`ReceiveVmOptions.onHeld`). */
  held: ((choice: MigrationChoice) => Promise<void>) | undefined;
  /** Told what nobody else may hear. */
  onUndecided: (error: MigrationError) => void = () => {};
  /** The VM was restored, and has not gone on yet. */
  isRestored = false;
  /** What follows the VM's end is changed. */
  onKeep: ((change: EndChange) => Promise<void>) | undefined;
  /** What holds for a card that comes while the VM runs. */
  onPlug: (network: PlugNetwork) => PlugNetwork = (network) => network;
  /** The process is in its sandbox. */
  isSealed = false;
  /** Of a VM that stays: its state files. */
  states: FolderStates | undefined;
  #running: AbortController | undefined;
  #stopping = 0;
  #isKilled = false;
  #isHanding = false;

  /** It is to end, because somebody has asked for that. */
  get isEnding(): boolean {
    return this.#isKilled || this.#stopping > 0;
  }

  /** Rejects with what the VM says, and with ControlError. */
  async answer(request: ControlRequest, connection: ControlConnection): Promise<unknown> {
    const { signal, channel } = connection;
    switch (request.command) {
      case "console":
        return await serveConsole(this.#requireVm(), required(channel), signal);
      case "exec":
        return await serveExec(this.#requireVm(), request, required(channel), signal);
      case "pack":
        return await servePack(this.#requireVm(), request.path, required(channel), signal);
      case "unpack":
        return await serveUnpack(this.#requireVm(), request, required(channel), signal);
      case "check":
        return await this.#requireVm().canMigrate(request.target, { ...request.options, signal });
      case "migrate":
        return await this.#migrate(request.target, request.options, connection);
      case "switch":
        return await this.#requireVm().switchEngine(request.engine, { signal });
      case "record":
        if (this.isSealed)
          throw this.#refused(`${IN_SANDBOX} makes no files. Start it with --sandbox off, or --record FILE`);
        return await this.#requireVm().record(request.path, { state: request.state });
      case "screen":
        return await screenOf(this.#requireVm());
      case "type":
        return await this.#requireVm().type(request.text, { layout: request.layout });
      case "eject":
        return await this.#requireVm().eject(request.disk, { force: request.force });
      case "insert":
        this.#requireInReach(request.path);
        return await this.#requireVm().insert(request.disk, request.path, { force: request.force });
      case "plug":
        if (this.isSealed) throw this.#refused(`${IN_SANDBOX} opens no sockets. Start it with --sandbox off`);
        return await this.#requireVm().network.plug(request.card, this.onPlug(request.network));
      case "unplug":
        return await this.#requireVm().network.unplug(request.card);
      case "balloon":
        await this.#requireVm().memory.balloon(request.bytes, { signal });
        return memoryOf(this.#requireVm());
      case "resize":
        return { sizeBytes: await this.#requireVm().memory.resize(request.bytes, { signal }) };
      case "memory":
        return { ...memoryOf(this.#requireVm()), statistics: await this.#requireVm().memory.statistics({ signal }) };
      case "usage":
        return await this.#requireVm().resources.usage();
      case "registers":
        return registersAnswer(await this.#requireVm().registers());
      case "set":
        await changeResources(this.#requireVm(), request.change);
        return await this.#requireVm().resources.usage();
      case "keep":
        return await this.#keep(request.change);
      case "press":
        return await this.#requireVm().press(request.keys);
      case "stop":
        return await this.#stop(request.timeoutMs, request.force, signal);
      case "resume":
        if (this.#isHanding) throw this.#refused("is being copied, and stands still for that. Resume it later");
        return await this.#requireFor("resume").resume();
      case "pause":
      case "reset":
        return await this.#requireFor(request.command)[request.command]();
      case "kill":
        return await this.#kill();
      case "save":
        return await this.#save(request.path, this.#savingHooks(connection));
      case "clone": {
        const { from, to } = request;
        return await cloneTo(this.#requireUnsealed("clone"), from, to, this.#savingHooks(connection));
      }
      case "hand":
        return await this.#handOut(request.out, required(channel), this.#savingHooks(connection));
      case "cancel":
        if (!this.#running) throw new ControlError("bad-state", "No migration is under way.");
        this.#running.abort();
        return null;
      case "decide":
        return await this.#decide(request.choice);
      case "status":
        return this.#status();
    }
  }

  #status(): ControlStatus {
    const { vm, held, progress } = this;
    return {
      state: held ? "held" : (vm?.state ?? "waiting"),
      life: this.#life(),
      ...(vm && { engine: vm.engine, discs: vm.disks.discs }),
      isMigrating: this.#running !== undefined,
      isSealed: this.isSealed,
      ...(!vm && progress && { progress }),
    };
  }

  #life(): LifecycleState {
    const state = this.vm?.state ?? "created";
    if (state === "created" || this.isRestored) return "starting";
    if (state !== "running" && state !== "paused") return "stopping";
    return this.#stopping > 0 ? "stopping" : state;
  }

  #requireFor(verb: "stop" | "pause" | "resume" | "reset" | "save" | "clone"): Vm {
    const vm = this.#requireVm();
    requireAllowed(verb, this.#life(), vm.name);
    return vm;
  }

  async #stop(timeoutMs: number, force: boolean, signal: AbortSignal): Promise<void> {
    const vm = this.#requireFor("stop");
    this.#stopping++;
    try {
      await vm.stop({ timeoutMs, force, signal });
    } finally {
      this.#stopping--;
    }
  }

  async #keep(change: EndChange): Promise<void> {
    if (!this.onKeep) throw badRequest("That is for a VM that stays.");
    if (this.isSealed && (change.onCrash === "restart" || change.onPoweroff === "restart")) {
      const why = "process is in its sandbox and cannot open the VM's files again, as a restart has to";
      throw new ControlError("refused", `VM ${this.#requireVm().name}'s ${why}. Set that while it is off.`);
    }
    await this.onKeep(change);
  }

  #savingHooks({ signal, onSaving: onProgress = () => {} }: ControlConnection): SavingHooks {
    return { signal, onProgress, isPaused: () => this.#life() === "paused" };
  }

  async #save(path: string | undefined, hooks: SavingHooks): Promise<void> {
    if (path !== undefined) return await saveTo(this.#requireUnsealed("save"), path, hooks);
    const vm = this.#requireFor("save");
    await saveInFolder(vm, this.#requireStates().saved, () => this.#kill(), hooks);
  }

  async #handOut(out: "state" | "clone", channel: ControlChannel, hooks: SavingHooks): Promise<void> {
    const vm = this.#requireFor(out === "clone" ? "clone" : "save");
    const { outgoing } = this.#requireStates();
    if (this.#isHanding) throw this.#refused("is being copied already. Try again when that has ended");
    this.#isHanding = true;
    try {
      await handOut(vm, out, outgoing, channel, hooks);
    } finally {
      this.#isHanding = false;
    }
  }

  #requireStates(): FolderStates {
    if (this.states) return this.states;
    throw badRequest("That is for a VM that stays.");
  }

  #refused(why: string): ControlError {
    return new ControlError("refused", `VM ${this.#requireVm().name} ${why}.`);
  }

  #requireUnsealed(verb: "save" | "clone"): Vm {
    const vm = this.#requireFor(verb);
    if (this.isSealed) throw this.#refused(`${IN_SANDBOX} makes no files. Give its name, and not its socket`);
    return vm;
  }

  /** Before a tray is opened for it. */
  #requireInReach(path: string): void {
    if (!this.isSealed) return;
    try {
      closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw this.#refused(
        `${IN_SANDBOX} opens only what it was started with: ${path} is out of its reach (${code}). Name that disc or disk when it starts (--cdrom, --disk), or start it with --sandbox off`,
      );
    }
  }

  async #kill(): Promise<void> {
    this.#isKilled = true;
    if (this.vm) await this.vm.kill();
    else this.giveUp();
  }

  async #migrate(target: string, options: ControlOptions, connection: ControlConnection): Promise<unknown> {
    const { signal, onProgress } = connection;
    const vm = this.#requireVm();
    if (this.#running) throw new ControlError("bad-state", "A migration is under way already.");
    if (this.isSealed) {
      throw this.#refused(
        `${IN_SANDBOX} opens no connections. A VM that is to migrate is started with --sandbox off, or with --migration-socket; this one can be saved (twinmetal save), and restored elsewhere`,
      );
    }
    const abort = new AbortController();
    this.#running = abort;
    try {
      return await vm.migrate(target, {
        ...options,
        signal: AbortSignal.any([signal, abort.signal]),
        ...(onProgress && { onProgress }),
      });
    } catch (error) {
      if (error instanceof MigrationError && error.code === "undecided") this.onUndecided(error);
      throw error;
    } finally {
      this.#running = undefined;
    }
  }

  async #decide(choice: MigrationChoice): Promise<unknown> {
    const { held } = this;
    if (!held) return await this.#requireVm().decideMigration(choice);
    this.held = undefined;
    return await held(choice);
  }

  #requireVm(): Vm {
    if (this.vm) return this.vm;
    throw new ControlError("bad-state", "There is no VM there yet.");
  }
}

function required(channel: ControlChannel | undefined): ControlChannel {
  if (channel) return channel;
  throw badRequest("That needs a connection of its own.");
}
