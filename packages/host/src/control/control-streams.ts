/**
 * Requests of the control socket whose bytes flow both ways, as lines in base64:
 *
 *   {"command": "console"}                  the guest's serial console, to the VM's end or the client's
 *   {"command": "exec", "words": [...]}     a command in the guest, through its agent; its status is the result
 *   {..., "terminal": {"rows": R, "columns": C, "name": N}}     in a terminal of its own there
 *   {..., "isTyped": true}                  its input comes from a keyboard
 *   {"command": "pack", ...}  {"command": "unpack", ...}        an archive out of the guest, and into it
 *   client: {"input": B}  {"end": true}  {"rows": R, "columns": C}       process: {"stdout": B}  {"stderr": B}
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import type { AgentInfo, AgentProcess, TerminalOptions } from "../agent/index.ts";
import { packInGuest, type UnpackPlan, unpackInGuest } from "../copy/guest-archive.ts";
import type { Vm } from "../vm/vm.ts";
import { badRequest, ControlError } from "./control-error.ts";
import type { ControlLines } from "./control-lines.ts";

/** What a console's reader who is too slow does not get. */
const MAX_UNREAD_BYTES = 4 * 2 ** 20;
/** From power-on to an agent that answers: a full system, on a busy host. */
export const AGENT_TIMEOUT_MS = 600_000;
const QUIET_MS = 1000;
/** Of the progress that is told while a guest starts whose agent is needed. */
export const AGENT_PHASE = "agent" as const;
const MAX_WINDOW = 10_000;
const LINE_BYTES = 256 * 1024;

/** The client's side of what flows. */
export interface ControlStreams {
  /** Its end is the end of the input. Sizes of the window are of use to a command with a terminal. */
  readonly input?: AsyncIterable<Uint8Array | WindowDimensions>;
  readonly onStdout?: (bytes: Uint8Array) => void | Promise<void>;
  readonly onStderr?: (bytes: Uint8Array) => void | Promise<void>;
}

export interface WindowDimensions {
  readonly rows: number;
  readonly columns: number;
}

export interface ExecFields {
  readonly words: readonly string[];
  readonly terminal?: TerminalOptions;
  /** Input comes from a keyboard: not waited for by an agent that takes all of it before the command starts. */
  readonly isTyped?: boolean;
}

type Input = { readonly bytes: Uint8Array } | WindowDimensions | "end";

/** The process's side of a connection. */
export class ControlChannel {
  readonly #socket: Socket;
  readonly #lines: ControlLines;

  constructor(socket: Socket, lines: ControlLines) {
    this.#socket = socket;
    this.#lines = lines;
  }

  get unreadBytes(): number {
    return this.#socket.writableLength;
  }

  /** Resolves when the client can take more. */
  async tell(line: unknown): Promise<void> {
    if (this.#socket.destroyed || this.#socket.write(`${JSON.stringify(line)}\n`)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off("drain", done).off("close", done);
        resolve();
      };
      this.#socket.on("drain", done).on("close", done);
    });
  }

  /** Rejects when the client is gone. */
  async input(): Promise<Input> {
    const { input, end, rows, columns } = JSON.parse(await this.#lines.next()) as Record<string, unknown>;
    if (typeof input === "string") return { bytes: Buffer.from(input, "base64") };
    if (end === true) return "end";
    if (isWindow(rows) && isWindow(columns)) return { rows, columns };
    throw badRequest("The line says nothing that is known here.");
  }
}

/** What a request says of the terminal that a command is to have. */
export function isTerminal(terminal: unknown): terminal is TerminalOptions {
  if (typeof terminal !== "object" || terminal === null) return false;
  const { rows, columns, name } = terminal as Record<string, unknown>;
  return isWindow(rows) && isWindow(columns) && (name === undefined || typeof name === "string");
}

function isWindow(count: unknown): count is number {
  return Number.isInteger(count) && (count as number) > 0 && (count as number) <= MAX_WINDOW;
}

/** Resolves with how the VM ended; rejects when the client has gone. */
export async function serveConsole(vm: Vm, channel: ControlChannel, signal: AbortSignal): Promise<unknown> {
  const stop = vm.serial.onData((bytes) => {
    // The guest does not wait for somebody who only looks on.
    if (channel.unreadBytes < MAX_UNREAD_BYTES) void channel.tell({ stdout: base64(bytes) });
  });
  const typed = (async () => {
    for (;;) {
      const input = await channel.input();
      if (input === "end") return await new Promise<never>(() => {});
      if ("bytes" in input) await vm.serial.write(input.bytes);
      // A guest without Twinmetal's agent keeps its window.
      else await vm.agent.setWindowSize(input.rows, input.columns).catch(() => {});
    }
  })();
  try {
    return await Promise.race([vm.wait({ signal }), typed]);
  } finally {
    stop();
  }
}

export async function serveExec(
  vm: Vm,
  { words, terminal, isTyped }: ExecFields,
  channel: ControlChannel,
  signal: AbortSignal,
): Promise<number> {
  const { kind } = await connectAgent(vm, channel, signal);
  if (terminal) return await serveTerminal(vm, words, terminal, channel, signal);
  const tell = (stream: "stdout" | "stderr") => (bytes: Uint8Array) => channel.tell({ [stream]: base64(bytes) });
  const { exitCode } = await vm.exec(words, {
    stdin: isTyped && kind === "qemu" ? undefined : inputOf(channel),
    onStdout: tell("stdout"),
    onStderr: tell("stderr"),
    signal,
  });
  return exitCode;
}

/** Resolves when all of it has been told. */
export async function servePack(vm: Vm, path: string, channel: ControlChannel, signal: AbortSignal): Promise<void> {
  await connectAgent(vm, channel, signal);
  for await (const bytes of packInGuest(vm.agent, path, { signal })) {
    for (let at = 0; at < bytes.length; at += LINE_BYTES)
      await channel.tell({ stdout: base64(bytes.subarray(at, at + LINE_BYTES)) });
  }
}

export async function serveUnpack(
  vm: Vm,
  plan: UnpackPlan,
  channel: ControlChannel,
  signal: AbortSignal,
): Promise<void> {
  await connectAgent(vm, channel, signal);
  await unpackInGuest(vm.agent, plan, inputOf(channel), { signal });
}

/** Tells the client when that takes longer than a moment, and when it is over. */
async function connectAgent(vm: Vm, channel: ControlChannel, signal: AbortSignal): Promise<AgentInfo> {
  if (vm.state === "paused")
    throw new ControlError(
      "bad-state",
      `VM ${vm.name} is paused, so that nothing in it answers. Resume it first: twinmetal resume ${vm.name}`,
    );
  const tell = (done: number): void => void channel.tell({ saving: { phase: AGENT_PHASE, done, total: 1 } });
  let isTold = false;
  const timer = setTimeout(() => {
    isTold = true;
    tell(0);
  }, QUIET_MS);
  try {
    const info = await vm.agent.connect({ timeoutMs: AGENT_TIMEOUT_MS, signal });
    if (isTold) tell(1);
    return info;
  } finally {
    clearTimeout(timer);
  }
}

async function serveTerminal(
  vm: Vm,
  words: readonly string[],
  terminal: TerminalOptions,
  channel: ControlChannel,
  signal: AbortSignal,
): Promise<number> {
  const process = await vm.agent.exec(words, { terminal, signal });
  void takeKeys(channel, process).catch(() => {}); // Whoever has gone ends the command by the signal.
  const output = (async () => {
    for await (const bytes of process.stdout as AsyncIterable<Uint8Array>)
      await channel.tell({ stdout: base64(bytes) });
  })();
  const status = await process.exited;
  await output;
  return status;
}

async function takeKeys(channel: ControlChannel, process: AgentProcess): Promise<void> {
  for (;;) {
    const input = await channel.input();
    if (input === "end") return;
    if ("rows" in input) process.resize?.(input.rows, input.columns);
    else if (!process.stdin?.write(input.bytes)) await once(process.stdin!, "drain");
  }
}

async function* inputOf(channel: ControlChannel): AsyncGenerator<Uint8Array> {
  for (;;) {
    const input = await channel.input();
    if (input === "end") return;
    if ("bytes" in input) yield input.bytes;
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
