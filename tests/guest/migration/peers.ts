// Processes that VMs migrate between, and a link between them that can be broken.

import { type ChildProcess, fork } from "node:child_process";
import { connect, createServer, type Server, type Socket } from "node:net";
import { fileURLToPath } from "node:url";

const library = new URL("../../../packages/host/dist/index.js", import.meta.url).href;
const program = fileURLToPath(new URL("peer.mjs", import.meta.url));

export interface MigrationReport {
  readonly downtimeMs: number;
  readonly totalMs: number;
  readonly rounds: number;
  readonly sentBytes: number;
  readonly stoppedPages: number;
  readonly leastShare: number;
}

export interface PeerStatus {
  readonly state: string | undefined;
  readonly isHeld: boolean;
  readonly output: string;
}

export class Peer {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  readonly exited: Promise<void>;
  readonly #ready: Promise<void>;
  #next = 1;
  isGone = false;

  constructor() {
    this.#process = fork(program, [library], { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: [] });
    this.exited = new Promise((resolve) => {
      this.#process.on("exit", () => {
        this.isGone = true;
        for (const { reject } of this.#waiting.values()) reject(new Error("the process has ended"));
        this.#waiting.clear();
        resolve();
      });
    });
    this.#ready = new Promise((resolve) => {
      this.#process.on("message", ({ id, value, error }: { id: number; value?: unknown; error?: string }) => {
        if (id === 0) resolve();
        const waiting = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (error === undefined) waiting?.resolve(value as never);
        else waiting?.reject(new Error(error));
      });
    });
  }

  async ask<T = void>(name: string, args?: unknown): Promise<T> {
    await this.#ready;
    if (this.isGone) throw new Error("the process has ended");
    const id = this.#next++;
    return await new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      // Its channel may be closed before its end is known.
      this.#process.send({ id, name, args }, (error) => error && reject(error));
    });
  }

  status(): Promise<PeerStatus> {
    return this.ask("status");
  }

  async migrate(
    target: string,
    options: object = {},
  ): Promise<{ readonly code?: string; readonly message?: string; readonly result?: MigrationReport }> {
    return await this.ask("migrate", { target, ...options });
  }

  /** Resolves when its guest has written something that fits, after `from`. */
  async until(test: (output: string) => boolean, timeoutMs = 60_000): Promise<string> {
    for (const deadlineMs = performance.now() + timeoutMs; ; ) {
      const { output, state } = await this.status();
      if (test(output)) return output;
      if (performance.now() > deadlineMs)
        throw new Error(`after ${timeoutMs} ms, ${state}, it has written ${JSON.stringify(output.slice(-300))}`);
      await new Promise((resolve) => void setTimeout(resolve, 25));
    }
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  async end(): Promise<void> {
    if (!this.isGone) this.kill();
    await this.exited;
  }
}

export type LinkFault = {
  readonly kind: "none" | "cut" | "stall" | "corrupt";
  /** Bytes towards the target, or the source, before it. */
  readonly afterBytes: number;
  readonly direction: "to-target" | "to-source";
  /** Later connections get through. */
  readonly isReachableAgain: boolean;
};

/** A link with a fault in its first connection. */
export class FaultyLink {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #connections = 0;

  private constructor(to: string, fault: LinkFault, onBytes: (bytes: number) => void) {
    this.#server = createServer((from) => {
      const there = connect(to);
      const isFirst = this.#connections++ === 0;
      for (const socket of [from, there]) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          from.destroySoon();
          there.destroySoon();
        });
      }
      if (!isFirst && !fault.isReachableAgain) from.destroy();
      let left = fault.afterBytes;
      const pump = (source: Socket, sink: Socket, isFaulty: boolean): void => {
        let isStalled = false;
        source.on("data", (data: Buffer) => {
          if (isFirst) onBytes(data.length);
          if (isStalled) return;
          if (isFaulty && left < data.length) {
            if (fault.kind === "cut") {
              sink.write(data.subarray(0, left));
              from.destroySoon();
              there.destroySoon();
              return;
            }
            if (fault.kind === "stall") {
              isStalled = true;
              sink.write(data.subarray(0, left));
              return;
            }
            data[left]! ^= 0x10;
            left = Number.POSITIVE_INFINITY;
          } else left -= isFaulty ? data.length : 0;
          if (!sink.write(data)) {
            source.pause();
            sink.once("drain", () => source.resume());
          }
        });
      };
      const hasFault = isFirst && fault.kind !== "none";
      pump(from, there, hasFault && fault.direction === "to-target");
      pump(there, from, hasFault && fault.direction === "to-source");
    });
  }

  static async open(
    path: string,
    to: string,
    fault: LinkFault,
    onBytes: (bytes: number) => void = () => {},
  ): Promise<FaultyLink> {
    const proxy = new FaultyLink(to, fault, onBytes);
    await new Promise<void>((resolve) => proxy.#server.listen(path, resolve));
    return proxy;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }
}
