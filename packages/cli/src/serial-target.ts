/**
 * Where the guest's serial console goes when that is not this terminal: nowhere, into a file or a bounded log, or to whoever connects to
 * a Unix socket (one at a time; what is written while nobody is there is dropped, as on a cable that is not plugged in).
 */
import { open } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { CommandError, UsageError } from "./usage-error.ts";
import { listenAt, type Vm, whyNotListening } from "./vm-library.ts";

export type SerialTarget =
  | { readonly kind: "stdio" }
  | { readonly kind: "null" }
  | { readonly kind: "log"; readonly log: { write(bytes: Uint8Array): void } }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "socket"; readonly path: string };

/** Once started, ends by `close`. */
export interface SerialSink {
  /** Why it stopped taking output, such as a full disk. Never resolves while all is well. */
  readonly failed: Promise<CommandError>;
  close(): Promise<void>;
}

export function parseSerialTarget(text: string): SerialTarget {
  if (text === "stdio" || text === "null") return { kind: text };
  const [, kind, path = ""] = /^(file|socket)=(.+)$/s.exec(text) ?? [];
  if (kind === "file" || kind === "socket") return { kind, path };
  throw new UsageError(`"${text}" is no place for the serial console. Give stdio, null, file=PATH or socket=PATH.`);
}

/** Call before the guest starts, so that nothing is missed. */
export async function openSerialSink(vm: Vm, target: SerialTarget): Promise<SerialSink> {
  switch (target.kind) {
    case "file":
      return await openFileSink(vm, target.path);
    case "socket":
      return await openSocketSink(vm, target.path);
    case "log":
      return openLogSink(vm, target.log);
    default:
      return { failed: new Promise(() => {}), close: async () => {} };
  }
}

async function openFileSink(vm: Vm, path: string): Promise<SerialSink> {
  const file = await open(path, "w").catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`The serial console cannot be written to ${path} (${error.code}). Name another file.`);
  });
  const iterator = vm.serial.output[Symbol.asyncIterator]();
  const failed = deferred<CommandError>();
  const pump = (async () => {
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) await file.writeFile(next.value);
  })().catch((error: NodeJS.ErrnoException) => {
    failed.resolve(new CommandError(`The serial console could not be written to ${path} (${error.code}).`));
  });
  return {
    failed: failed.promise,
    close: async () => {
      await within(pump, 2000);
      await iterator.return?.();
      await file.close();
    },
  };
}

function openLogSink(vm: Vm, log: { write(bytes: Uint8Array): void }): SerialSink {
  const iterator = vm.serial.output[Symbol.asyncIterator]();
  const failed = deferred<CommandError>();
  const pump = (async () => {
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) log.write(next.value);
  })().catch((error: NodeJS.ErrnoException) => {
    failed.resolve(new CommandError(`The serial console's log could not be written (${error.code}).`));
  });
  return {
    failed: failed.promise,
    close: async () => {
      await within(pump, 500);
      await iterator.return?.();
    },
  };
}

async function openSocketSink(vm: Vm, path: string): Promise<SerialSink> {
  let client: Socket | undefined;
  const server = createServer((socket) => {
    if (client !== undefined) {
      socket.on("error", () => {});
      socket.end("Somebody else is connected to this serial console.\r\n");
      return;
    }
    client = socket;
    const release = (): void => {
      if (client === socket) client = undefined;
      // A guest may wait for this client to take its output.
      socket.emit("drain");
    };
    socket.on("error", release).on("close", release);
    socket.on("data", (data: Buffer) => {
      socket.pause();
      void vm.serial.write(new Uint8Array(data)).finally(() => socket.resume());
    });
  });
  await listenAt(server, { kind: "unix", path }).catch((error: NodeJS.ErrnoException) => {
    const why = whyNotListening(error);
    throw new CommandError(`The socket ${path} cannot be opened for the serial console: ${why}. Name another path.`);
  });
  const iterator = vm.serial.output[Symbol.asyncIterator]();
  const pump = (async () => {
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
      const socket = client;
      if (socket !== undefined && !socket.write(next.value)) await drained(socket);
    }
  })();
  return {
    failed: new Promise(() => {}),
    close: async () => {
      await within(pump, 500);
      await iterator.return?.();
      client?.destroySoon();
      await within(new Promise((resolve) => server.close(resolve)), 500);
    },
  };
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once("drain", resolve));
}

async function within(promise: Promise<unknown>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([promise.then(() => {}), late]);
  clearTimeout(timer);
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
