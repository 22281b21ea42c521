/** Asking the process of a VM at its control socket. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { MigrationObstacle, MigrationProgress } from "@twinmetal/core";
import type { VmProgress } from "../vm/vm.ts";
import { ControlError } from "./control-error.ts";
import type { ControlRequest } from "./control-request.ts";
import type { ControlStreams, WindowDimensions } from "./control-streams.ts";
import type { HandedOut } from "./save-and-clone.ts";

/** Rejects with ControlError: the VM's own, or "link-lost" where nobody answers. */
export async function askControl(
  path: string,
  request: ControlRequest,
  options: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: MigrationProgress) => void;
    /** Of "save" and "clone"; of what needs the guest's agent, while that is waited for: its phase is AGENT_PHASE. */
    readonly onSaving?: (progress: VmProgress) => void;
    /** Of "hand": its files are there, and stay as they are until this resolves. */
    readonly onHanded?: (handed: HandedOut) => Promise<void>;
    /** How long the process may say nothing. Default: for ever. */
    readonly timeoutMs?: number;
    /** How long its answer is waited for when `signal` has told it to end. Default: for ever. */
    readonly giveUpMs?: number;
    /** Of what has bytes that flow: control-streams.ts. */
    readonly streams?: ControlStreams;
  } = {},
): Promise<unknown> {
  const { signal, onProgress, onSaving, onHanded, timeoutMs, giveUpMs, streams } = options;
  signal?.throwIfAborted();
  const socket = connect(path);
  if (timeoutMs !== undefined) {
    socket.setTimeout(timeoutMs, () => void socket.destroy(new Error(`no answer for ${timeoutMs / 1000} s`)));
  }
  let giveUp: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    socket.end();
    if (giveUpMs !== undefined) giveUp = setTimeout(() => void socket.destroy(), giveUpMs);
  };
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
        else if (line.handed) {
          await onHanded?.(line.handed);
          socket.write('{"end":true}\n');
        } else if (line.stdout !== undefined) await streams?.onStdout?.(Buffer.from(line.stdout, "base64"));
        else if (line.stderr !== undefined) await streams?.onStderr?.(Buffer.from(line.stderr, "base64"));
        else if (line.error)
          throw new ControlError(line.error.code, line.error.message, { obstacles: line.error.obstacles });
        else return line.result;
      }
    }
  } catch (error) {
    if (error instanceof ControlError) throw error;
    const { code = "", message } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" || code === "ECONNREFUSED" ? `no VM listens there (${code})` : message;
    throw new ControlError(
      "link-lost",
      `${path} cannot be asked: ${why}. Give a running VM's name (twinmetal ls), or what its --migration-socket says.`,
      { cause: error },
    );
  } finally {
    signal?.removeEventListener("abort", onAbort);
    clearTimeout(giveUp);
    socket.destroy();
  }
  throw new ControlError("link-lost", `The VM's process at ${path} ended before it had answered.`);
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
  readonly handed?: HandedOut;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly result?: unknown;
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly obstacles?: readonly MigrationObstacle[];
  };
}
