/**
 * A place where GDB connects to a VM: `target remote PATH` or `target remote HOST:PORT`. One at a time; whoever comes while one
 * is there is turned away. There is no password: a socket file is its owner's alone, and TCP is for this host's own addresses.
 */
import { createServer, type Socket } from "node:net";
import { listenAt } from "../socket/listen-at.ts";
import type { Vm } from "../vm/vm.ts";
import { VmError } from "../vm/vm-error.ts";
import { GdbPacketReader, gdbPacket } from "./gdb-packets.ts";
import { GdbSession } from "./gdb-session.ts";

export type GdbAddress =
  | { readonly kind: "unix"; readonly path: string }
  /** Default host: 127.0.0.1. */
  | { readonly kind: "tcp"; readonly host?: string; readonly port: number };

export interface GdbServer {
  /** Where it listens: with the port that was given for 0. */
  readonly address: GdbAddress;
  /** Resolves when a debugger has come. */
  readonly attached: Promise<void>;
  close(): Promise<void>;
}

const LOOPBACK = "127.0.0.1";

/** Rejects with VmError "bad-option" where it cannot listen. */
export async function serveGdb(vm: Vm, where: GdbAddress): Promise<GdbServer> {
  let attach: () => void = () => {};
  const attached = new Promise<void>((resolve) => {
    attach = resolve;
  });
  let current: Socket | undefined;
  const server = createServer((socket) => {
    if (current) return void socket.destroy();
    current = socket;
    attach();
    void converse(vm, socket).finally(() => {
      current = undefined;
    });
  });
  const place = where.kind === "unix" ? where : { ...where, host: where.host ?? LOOPBACK };
  try {
    await listenAt(server, place, { isOwnersAlone: true });
  } catch (error) {
    const text = place.kind === "unix" ? place.path : `${place.host}:${place.port}`;
    const { code } = error as NodeJS.ErrnoException;
    throw new VmError("bad-option", `GDB cannot be waited for at ${text} (${code}). Name another place.`, {
      cause: error,
    });
  }
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  return {
    address: where.kind === "tcp" ? { ...where, port } : where,
    attached,
    close: async () => {
      current?.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Until the other side goes. */
async function converse(vm: Vm, socket: Socket): Promise<void> {
  socket.setNoDelay(true);
  socket.on("error", () => {});
  const reader = new GdbPacketReader();
  const send = (data: string): void => void socket.write(gdbPacket(data));
  const session = new GdbSession(vm, send);
  let isAcknowledging = true;
  const ignore = (): void => {}; // The VM has ended.
  try {
    await session.begin();
    for await (const bytes of socket as AsyncIterable<Buffer>) {
      for (const input of reader.push(bytes)) {
        if (input.kind === "interrupt") await session.interrupt();
        else if (input.kind === "broken") socket.write("-");
        else {
          if (isAcknowledging) socket.write("+");
          const answer = await session.answer(input.data);
          if (answer !== undefined) send(answer);
          if (input.data === "QStartNoAckMode") isAcknowledging = false;
          if (input.data === "k" || input.data.startsWith("vKill")) socket.destroy();
        }
      }
    }
  } catch {
    socket.destroy();
  } finally {
    await session.end().catch(ignore);
  }
}
