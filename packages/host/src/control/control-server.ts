/**
 * The control socket of a VM's process: whoever may use the socket's file does with the VM what its owner can
 * (control-request.ts). Answers are lines of JSON: `{"progress": P}`, `{"saving": P}` and `{"handed": H}` before the last one, `{"result": R}` or
 * `{"error": {"code": C, "message": M, "obstacles": O}}`.
 */
import { createServer, type Socket } from "node:net";
import { listenAt, whyNotListening } from "../socket/listen-at.ts";
import { badRequest } from "./control-error.ts";
import { ControlLines } from "./control-lines.ts";
import { parseRequest } from "./control-request.ts";
import { ControlChannel } from "./control-streams.ts";
import type { VmControl } from "./vm-control.ts";

export interface ControlServer {
  /** What is being answered is told first, for a moment. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 8;
const CLOSE_MS = 1000;

/** Rejects with ControlError if nobody can listen there. Does not keep the process alive. */
export async function serveControl(path: string, control: VmControl): Promise<ControlServer> {
  const answering = new Set<Promise<void>>();
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    const answered = serve(socket, control).catch(() => {}); // A client that is gone hears nothing.
    answering.add(answered);
    void answered.then(() => answering.delete(answered));
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listenAt(server, { kind: "unix", path }).catch((error: NodeJS.ErrnoException) => {
    const why = whyNotListening(error);
    throw badRequest(`The control socket ${path} cannot be opened: ${why}. Name another path.`, error);
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

async function serve(socket: Socket, control: VmControl): Promise<void> {
  const gone = new AbortController();
  socket.on("error", () => gone.abort());
  socket.on("close", () => gone.abort());
  const tell = (line: unknown): void => void socket.write(`${JSON.stringify(line)}\n`);
  try {
    const lines = new ControlLines(socket);
    const request = parseRequest(await lines.next());
    lines.onEnd = () => gone.abort();
    const result = await control.answer(request, {
      signal: gone.signal,
      onProgress: (progress) => tell({ progress }),
      onSaving: (saving) => tell({ saving }),
      channel: new ControlChannel(socket, lines),
    });
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

function after(timeMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, timeMs).unref());
}
