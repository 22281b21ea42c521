/**
 * A server at a Unix socket or a port of TCP. A socket file that a killed process has left makes room; another file, and a
 * socket where somebody answers, never do.
 */
import type { BigIntStats } from "node:fs";
import { chmod, link, lstat, rename, unlink } from "node:fs/promises";
import { connect, type Server } from "node:net";

export type SocketAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

export interface ListenOptions {
  /** Of a Unix socket: nobody else may connect, whatever the umask says. Default: false. */
  readonly isOwnersAlone?: boolean;
}

const OWNER_ONLY = 0o600;

/** Rejects with Node's error, which `whyNotListening` puts in words. A client that cannot be accepted later is no error. */
export async function listenAt(
  server: Server,
  address: SocketAddress,
  { isOwnersAlone = false }: ListenOptions = {},
): Promise<void> {
  if (address.kind === "unix") await removeStaleSocket(address.path);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const onListening = (): void => {
      server.off("error", reject);
      resolve();
    };
    if (address.kind === "unix") server.listen(address.path, onListening);
    else server.listen(address.port, address.host, onListening);
  });
  server.on("error", () => {});
  if (address.kind === "unix" && isOwnersAlone) await chmod(address.path, OWNER_ONLY);
}

export function whyNotListening({ code, message }: NodeJS.ErrnoException): string {
  return code === "EADDRINUSE" ? "it is there already, and in use" : message;
}

async function removeStaleSocket(path: string): Promise<void> {
  const before = await lstat(path, { bigint: true }).catch(() => undefined);
  // A plain file refuses connections, too.
  if (!before?.isSocket() || (await answerAt(path)) !== "ECONNREFUSED") return;
  await removeThis(path, before).catch(() => {}); // Listening tells what stays in the way.
}

/** Undefined: somebody listens. */
async function answerAt(path: string): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const probe = connect(path);
    probe.on("connect", () => {
      probe.destroy();
      resolve(undefined);
    });
    probe.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
}

/** Another process may have done the same meanwhile, and listen there: its socket gets its name back. */
async function removeThis(path: string, { ino, mtimeNs }: BigIntStats): Promise<void> {
  const aside = `${path}.${process.pid}~`;
  await rename(path, aside);
  const moved = await lstat(aside, { bigint: true });
  if (moved.ino !== ino || moved.mtimeNs !== mtimeNs) await link(aside, path);
  await unlink(aside);
}
