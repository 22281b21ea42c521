/**
 * The control socket of a VM's process: whoever may use the socket's file does with the VM what its owner can. One request a
 * connection, JSON in a line:
 *
 *   {"command": "migrate", "target": T, "options": {...}}     progress lines, then a result or an error
 *   {"command": "check", "target": T, "options": {...}}       what speaks against it; T may be an engine
 *   {"command": "switch", "engine": "jit" | "kvm"}            the VM goes on in that engine
 *   {"command": "record", "path": P, "state": S}              it is recorded from here on
 *   {"command": "screen"}                                     its screen: text, and a PNG file in base64
 *   {"command": "type", "text": T, "layout": "us" | "kr"}     typed on its keyboard
 *   {"command": "resize", "bytes": N}                         how much memory it has
 *   {"command": "balloon", "bytes": N | "auto"}  {"command": "memory"} its balloon, and what it says of its memory
 *   {"command": "usage"}  {"command": "set", "change": C}     what it uses and may use; resources/resource-change.ts
 *   {"command": "press", "keys": K}                           pressed together
 *   {"command": "eject", "disk": D, "force": B}               the tray of a CD drive opens, without its disc
 *   {"command": "insert", "disk": D, "path": P, "force": B}   another disc in it
 *   {"command": "stop", "timeoutMs": N, "force": B}           asked to turn off, and waited for
 *   {"command": "save", "path": P, "ends": B}                 its state in a file; it ends with that, or goes on
 *   {"command": "clone", "from": F, "to": T}                  its state and its disks for a VM whose folder T is in the making
 *   {"command": "pause" | "resume" | "reset" | "kill"}        ../lifecycle/states.ts says when
 *   {"command": "console"}  {"command": "exec", "words": W}   control-streams.ts
 *   {"command": "cancel"}  {"command": "decide", "choice": "run" | "discard"}  {"command": "status"}
 *
 * A connection that goes away cancels the migration that it has asked for.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { basename, dirname, isAbsolute } from "node:path";
import {
  type BalloonStatistics,
  KEYBOARD_LAYOUTS,
  type KeyboardLayout,
  MigrationError,
  type MigrationErrorCode,
  type MigrationObstacle,
  type MigrationProgress,
} from "@twinmetal/core";
import type { TerminalOptions } from "../agent/index.ts";
import { isWritten } from "../lifecycle/kept-disks.ts";
import { shareDisks } from "../lifecycle/shared-disks.ts";
import { type LifecycleState, requireAllowed } from "../lifecycle/states.ts";
import { type VmFolder, vmFolder } from "../lifecycle/vm-folder.ts";
import { changeResources, isResourceChange, type ResourceChange } from "../resources/resource-change.ts";
import { listenAt, whyNotListening } from "../socket/listen-at.ts";
import type { Vm, VmProgress } from "../vm/vm.ts";
import { whyNothingIsGivenBack } from "../vm/vm-memory.ts";
import { badOption } from "./address.ts";
import { ControlLines } from "./control-lines.ts";
import {
  ControlChannel,
  type ControlStreams,
  isTerminal,
  serveConsole,
  serveExec,
  type WindowDimensions,
} from "./control-streams.ts";
import type { MigrateVmOptions, MigrationChoice } from "./outgoing.ts";

/** Options of a request; what cannot be said in JSON is not among them. */
export type ControlOptions = Omit<MigrateVmOptions, "signal" | "onProgress">;

export type ControlRequest =
  | { readonly command: "migrate" | "check"; readonly target: string; readonly options: ControlOptions }
  | { readonly command: "switch"; readonly engine: "jit" | "kvm" }
  | { readonly command: "record"; readonly path: string; readonly state: string }
  | { readonly command: "type"; readonly text: string; readonly layout: KeyboardLayout }
  | { readonly command: "press"; readonly keys: string }
  | { readonly command: "eject"; readonly disk: string; readonly force: boolean }
  | { readonly command: "insert"; readonly disk: string; readonly path: string; readonly force: boolean }
  | { readonly command: "resize"; readonly bytes: number }
  | { readonly command: "balloon"; readonly bytes: number | "auto" }
  | { readonly command: "stop"; readonly timeoutMs: number; readonly force: boolean }
  | { readonly command: "console" }
  | { readonly command: "exec"; readonly words: readonly string[]; readonly terminal?: TerminalOptions }
  | { readonly command: "pause" | "resume" | "reset" | "kill" }
  | { readonly command: "save"; readonly path: string; readonly ends: boolean }
  | { readonly command: "clone"; readonly from: string; readonly to: string }
  | { readonly command: "set"; readonly change: ResourceChange }
  | { readonly command: "cancel" | "memory" | "screen" | "status" | "usage" }
  | { readonly command: "decide"; readonly choice: MigrationChoice };

/** The answer to "status". */
export interface ControlStatus {
  /** "waiting": there is no VM yet. */
  readonly state: Vm["state"] | "held" | "waiting";
  /** The same in the words of ../lifecycle/states.ts. */
  readonly life: LifecycleState;
  readonly engine?: "jit" | "kvm";
  readonly isMigrating: boolean;
  /** What it is at, while it starts. */
  readonly progress?: VmProgress;
}

/** What a control socket is for. It changes: a VM comes, is held, goes. */
export class MigrationDesk {
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
  /** The process is in its sandbox. */
  isSealed = false;
  #running: AbortController | undefined;
  #stopping = 0;
  #isKilled = false;

  /** It is to end, because somebody has asked for that. */
  get isEnding(): boolean {
    return this.#isKilled || this.#stopping > 0;
  }

  async answer(
    request: ControlRequest,
    signal: AbortSignal,
    onProgress: (progress: MigrationProgress) => void,
    channel?: ControlChannel,
    onSaving: (progress: VmProgress) => void = () => {},
  ): Promise<unknown> {
    switch (request.command) {
      case "console":
        return await serveConsole(this.#requireVm(), required(channel), signal);
      case "exec":
        return await serveExec(this.#requireVm(), request, required(channel), signal);
      case "check":
        return await this.#requireVm().canMigrate(request.target, { ...request.options, signal });
      case "migrate":
        return await this.#migrate(request.target, request.options, signal, onProgress);
      case "switch":
        return await this.#requireVm().switchEngine(request.engine, { signal });
      case "record":
        return await this.#requireVm().record(request.path, { state: request.state });
      case "screen":
        return await screenOf(this.#requireVm());
      case "type":
        return await this.#requireVm().type(request.text, { layout: request.layout });
      case "eject":
        return await this.#requireVm().eject(request.disk, { force: request.force });
      case "insert":
        return await this.#requireVm().insert(request.disk, request.path, { force: request.force });
      case "balloon":
        await this.#requireVm().memory.balloon(request.bytes, { signal });
        return memoryOf(this.#requireVm());
      case "resize":
        return { sizeBytes: await this.#requireVm().memory.resize(request.bytes, { signal }) };
      case "memory":
        return { ...memoryOf(this.#requireVm()), statistics: await this.#requireVm().memory.statistics({ signal }) };
      case "usage":
        return await this.#requireVm().resources.usage();
      case "set":
        await changeResources(this.#requireVm(), request.change);
        return await this.#requireVm().resources.usage();
      case "press":
        return await this.#requireVm().press(request.keys);
      case "stop":
        return await this.#stop(request.timeoutMs, request.force, signal);
      case "pause":
      case "resume":
      case "reset":
        return await this.#requireFor(request.command)[request.command]();
      case "kill":
        return await this.#kill();
      case "save":
        return await this.#save(request.path, request.ends, { signal, onProgress: onSaving });
      case "clone":
        return await this.#clone(request.from, request.to, { signal, onProgress: onSaving });
      case "cancel":
        if (!this.#running) throw new MigrationError("bad-state", "No migration is under way.");
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
      ...(vm && { engine: vm.engine }),
      isMigrating: this.#running !== undefined,
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

  async #save(path: string, ends: boolean, hooks: SavingHooks): Promise<void> {
    const vm = this.#requireUnsealed("save");
    requireNoScratch(vm);
    const written = ends ? undefined : vm.disks.images.find((disk) => disk && isWritten(disk));
    if (written)
      throw badOption(
        `VM ${vm.name} goes on writing to ${written.path}, which would not agree with ${path} any more. Save it without a file, or clone it.`,
      );
    await this.#whilePaused(vm, async () => {
      await vm.save(path, hooks);
      if (ends) await this.#kill();
    });
  }

  /** State and disks of the same moment. */
  async #clone(from: string, to: string, hooks: SavingHooks): Promise<void> {
    const vm = this.#requireUnsealed("clone");
    requireNoScratch(vm);
    const [own, other] = [from, to].map((path) => vmFolder(dirname(path), basename(path))) as [VmFolder, VmFolder];
    await this.#whilePaused(vm, async () => {
      await vm.save(other.saved, hooks);
      await vm.disks.exchange((onMoved) => shareDisks(own, other, vm.disks.images, { onMoved }));
    });
  }

  /** Precondition: running or paused. */
  async #whilePaused(vm: Vm, action: () => Promise<void>): Promise<void> {
    if (vm.state === "paused") return await action();
    await vm.pause();
    try {
      await action();
    } finally {
      // One that has ended meanwhile stays so.
      if (this.#life() === "paused") await vm.resume();
    }
  }

  #requireUnsealed(verb: "save" | "clone"): Vm {
    const vm = this.#requireFor(verb);
    if (!this.isSealed) return vm;
    throw new MigrationError(
      "refused",
      `VM ${vm.name}'s process is in its sandbox, which makes no files, so that ${verb} is possible when it is off. Start it with --sandbox off for this.`,
    );
  }

  async #kill(): Promise<void> {
    this.#isKilled = true;
    if (this.vm) await this.vm.kill();
    else this.giveUp();
  }

  async #migrate(
    target: string,
    options: ControlOptions,
    signal: AbortSignal,
    onProgress: (progress: MigrationProgress) => void,
  ): Promise<unknown> {
    const vm = this.#requireVm();
    if (this.#running) throw new MigrationError("bad-state", "A migration is under way already.");
    if (this.isSealed) {
      throw new MigrationError(
        "refused",
        "The VM's process is in its sandbox, which opens no connections. A VM that is to migrate is started with --sandbox off, or with --migration-socket.",
      );
    }
    const abort = new AbortController();
    this.#running = abort;
    try {
      return await vm.migrate(target, { ...options, signal: AbortSignal.any([signal, abort.signal]), onProgress });
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
    throw new MigrationError("bad-state", "There is no VM there yet.");
  }
}

interface SavingHooks {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: VmProgress) => void;
}

function requireNoScratch(vm: Vm): void {
  const scratch = vm.disks.images.find((disk) => disk?.isEphemeral);
  if (scratch === undefined) return;
  throw badOption(
    `What VM ${vm.name} has written to ${scratch.path} is ephemeral, and would be missing in a saved state. Turn it off first.`,
  );
}

function required(channel: ControlChannel | undefined): ControlChannel {
  if (channel) return channel;
  throw badOption("That needs a connection of its own.");
}

/** How much the guest does without, and why the host has nothing of it, if so. */
export interface MemoryAnswer {
  readonly balloonBytes: number;
  readonly isBalloonAutomatic: boolean;
  readonly notGivenBack: string | null;
  readonly statistics?: BalloonStatistics;
}

function memoryOf({ memory }: Vm): MemoryAnswer {
  const { balloonBytes, isBalloonAutomatic } = memory;
  return { balloonBytes, isBalloonAutomatic, notGivenBack: whyNothingIsGivenBack() ?? null };
}

/** What the screen shows. */
export interface ScreenAnswer {
  /** Null in graphics modes. */
  readonly text: readonly string[] | null;
  readonly pngBase64: string;
}

async function screenOf(vm: Vm): Promise<ScreenAnswer> {
  const png = await vm.screenshot();
  return { text: (await vm.screen.text()) ?? null, pngBase64: Buffer.from(png).toString("base64") };
}

export interface ControlServer {
  /** What is being answered is told first, for a moment. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 8;
const CLOSE_MS = 1000;
const MAX_STOP_MS = 24 * 3_600_000;

/** Rejects with MigrationError if nobody can listen there. Does not keep the process alive. */
export async function serveMigrationControl(path: string, desk: MigrationDesk): Promise<ControlServer> {
  const answering = new Set<Promise<void>>();
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    const answered = serve(socket, desk).catch(() => {}); // A client that is gone hears nothing.
    answering.add(answered);
    void answered.then(() => answering.delete(answered));
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listenAt(server, { kind: "unix", path }).catch((error: NodeJS.ErrnoException) => {
    const why = whyNotListening(error);
    throw badOption(`The socket ${path} cannot be opened for migrations: ${why}. Name another path.`, error);
  });
  server.unref();
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      await Promise.race([Promise.all(answering), after(CLOSE_MS)]);
      for (const socket of sockets) socket.destroySoon();
      await Promise.race([closed, after(CLOSE_MS)]);
    },
  };
}

async function serve(socket: Socket, desk: MigrationDesk): Promise<void> {
  const gone = new AbortController();
  socket.on("error", () => gone.abort());
  socket.on("close", () => gone.abort());
  const tell = (line: unknown): void => void socket.write(`${JSON.stringify(line)}\n`);
  try {
    const lines = new ControlLines(socket);
    const request = parseRequest(await lines.next());
    lines.onEnd = () => gone.abort();
    const channel = new ControlChannel(socket, lines);
    const result = await desk.answer(
      request,
      gone.signal,
      (progress) => tell({ progress }),
      channel,
      (saving) => tell({ saving }),
    );
    tell({ result: result ?? null });
  } catch (error) {
    const {
      code = "peer-failed",
      message,
      obstacles,
    } = error as { code?: string; message: string; obstacles?: unknown };
    tell({ error: { code, message, obstacles } });
  }
  await new Promise<void>((resolve) => void socket.end(resolve));
}

/** Whoever may use the socket may do all this anyway; but a mistake shall be told as one. */
function parseRequest(line: string): ControlRequest {
  let request: Partial<Record<string, unknown>>;
  try {
    request = JSON.parse(line) as typeof request;
  } catch {
    throw badOption("The request is no JSON.");
  }
  if (typeof request !== "object" || request === null) throw badOption("The request is no object.");
  const { command, target, options = {}, choice, engine, path, state, text, layout, keys, timeoutMs, force } = request;
  if (command === "cancel" || command === "status" || command === "screen") return { command };
  if (command === "stop" && isTime(timeoutMs) && typeof force === "boolean") return { command, timeoutMs, force };
  if (command === "memory") return { command };
  const { bytes } = request;
  if (command === "resize" && typeof bytes === "number") return { command, bytes };
  if (command === "balloon" && (typeof bytes === "number" || bytes === "auto")) return { command, bytes };
  if (command === "pause" || command === "resume" || command === "reset" || command === "kill") return { command };
  const { ends, from, to } = request;
  if (command === "save" && isPath(path) && typeof ends === "boolean") return { command, path, ends };
  if (command === "clone" && isPath(from) && isPath(to)) return { command, from, to };
  if (command === "usage") return { command };
  if (command === "set" && isResourceChange(request["change"])) return { command, change: request["change"] };
  if (command === "console") return { command };
  const { words, terminal } = request;
  if (command === "exec" && isNames(words) && words.length > 0) {
    if (terminal === undefined) return { command, words };
    if (isTerminal(terminal)) return { command, words, terminal };
  }
  const { disk } = request;
  if (command === "eject" && typeof disk === "string" && typeof force === "boolean") return { command, disk, force };
  if (command === "insert" && typeof disk === "string" && typeof path === "string" && typeof force === "boolean")
    return { command, disk, path, force };
  if (command === "press" && typeof keys === "string") return { command, keys };
  if (command === "type" && typeof text === "string" && isLayout(layout)) return { command, text, layout };
  if (command === "decide" && (choice === "run" || choice === "discard")) return { command, choice };
  if (command === "switch" && (engine === "jit" || engine === "kvm")) return { command, engine };
  if (command === "record" && typeof path === "string" && typeof state === "string") return { command, path, state };
  if ((command === "migrate" || command === "check") && typeof target === "string" && isOptions(options)) {
    return { command, target, options };
  }
  throw badOption("The request asks for nothing that is known here.");
}

function isPath(path: unknown): path is string {
  return typeof path === "string" && isAbsolute(path);
}

function isTime(timeMs: unknown): timeMs is number {
  return typeof timeMs === "number" && timeMs >= 0 && timeMs <= MAX_STOP_MS;
}

function isLayout(layout: unknown): layout is KeyboardLayout {
  return KEYBOARD_LAYOUTS.some((known) => known === layout);
}

const OPTION_TYPES: Readonly<Record<keyof ControlOptions, readonly string[]>> = {
  tls: ["object"],
  insecure: ["boolean"],
  maxDowntimeMs: ["number"],
  bytesPerSecond: ["number"],
  compression: ["string"],
  mayThrottle: ["boolean"],
  stallMs: ["number"],
  decideMs: ["number"],
};

function isOptions(options: unknown): options is ControlOptions {
  if (typeof options !== "object" || options === null) return false;
  return Object.entries(options).every(([key, value]) => {
    if (key === "tls") return isTls(value);
    if (key === "compression" && !["auto", "always", "never"].includes(value as string)) return false;
    return OPTION_TYPES[key as keyof ControlOptions]?.includes(typeof value) ?? false;
  });
}

function isTls(value: unknown): boolean {
  const files = value as Record<string, unknown> | null;
  return (
    typeof files === "object" &&
    files !== null &&
    ["key", "certificate", "authority"].every((name) => typeof files[name] === "string") &&
    (files["peers"] === undefined || isNames(files["peers"]))
  );
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((name) => typeof name === "string");
}

/** Asks the process of a VM. Rejects with MigrationError: the VM's own, or "link-lost" where nobody answers. */
export async function askMigrationControl(
  path: string,
  request: ControlRequest,
  options: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: MigrationProgress) => void;
    /** Of "save" and "clone". */
    readonly onSaving?: (progress: VmProgress) => void;
    /** How long the process may say nothing. Default: for ever. */
    readonly timeoutMs?: number;
    /** Of "console" and "exec". */
    readonly streams?: ControlStreams;
  } = {},
): Promise<unknown> {
  const { signal, onProgress, onSaving, timeoutMs, streams } = options;
  signal?.throwIfAborted();
  const socket = connect(path);
  if (timeoutMs !== undefined) {
    socket.setTimeout(timeoutMs, () => void socket.destroy(new Error(`no answer for ${timeoutMs / 1000} s`)));
  }
  const onAbort = (): void => void socket.end();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    if (streams?.input) void sendInput(socket, streams.input).catch(() => {}); // The connection's end is told below.
    let text = "";
    for await (const data of socket.setEncoding("utf8")) {
      text += data as string;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const line = JSON.parse(text.slice(0, end)) as ControlLine;
        text = text.slice(end + 1);
        if (line.progress) onProgress?.(line.progress);
        else if (line.saving) onSaving?.(line.saving);
        else if (line.stdout !== undefined) await streams?.onStdout?.(Buffer.from(line.stdout, "base64"));
        else if (line.stderr !== undefined) await streams?.onStderr?.(Buffer.from(line.stderr, "base64"));
        else if (line.error)
          throw new MigrationError(line.error.code, line.error.message, { obstacles: line.error.obstacles ?? [] });
        else return line.result;
      }
    }
  } catch (error) {
    if (error instanceof MigrationError) throw error;
    const { code = "", message } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" || code === "ECONNREFUSED" ? `no VM listens there (${code})` : message;
    throw new MigrationError(
      "link-lost",
      `${path} cannot be asked: ${why}. Give a running VM's name (twinmetal ls), or what its --migration-socket says.`,
      { cause: error },
    );
  } finally {
    signal?.removeEventListener("abort", onAbort);
    socket.destroy();
  }
  throw new MigrationError("link-lost", `The VM's process at ${path} ended before it had answered.`);
}

/** A line holds at most what its reader takes. */
const INPUT_BYTES = 32 * 1024;

async function sendInput(socket: Socket, input: AsyncIterable<Uint8Array | WindowDimensions>): Promise<void> {
  const send = async (line: unknown): Promise<void> => {
    if (!socket.write(`${JSON.stringify(line)}\n`)) await once(socket, "drain");
  };
  for await (const bytes of input) {
    if ("rows" in bytes) {
      await send(bytes);
      continue;
    }
    for (let at = 0; at < bytes.length; at += INPUT_BYTES)
      await send({ input: Buffer.from(bytes.subarray(at, at + INPUT_BYTES)).toString("base64") });
  }
  await send({ end: true });
}

interface ControlLine {
  readonly progress?: MigrationProgress;
  readonly saving?: VmProgress;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly result?: unknown;
  readonly error?: {
    readonly code: MigrationErrorCode;
    readonly message: string;
    readonly obstacles?: readonly MigrationObstacle[];
  };
}

function after(timeMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, timeMs).unref());
}
