/** `--vsock CID[,uds=PATH]`: sockets between programs of the guest and of this host. What a path holds of commas is its own. */
import { option } from "./options.ts";
import { UsageError } from "./usage-error.ts";
import type { VsockOptions } from "./vm-library.ts";

const [FIRST, LAST] = [3, 0xffff_fffe];

export const VSOCK = option(
  "vsock",
  "CID[,uds=PATH]",
  "Sockets between guest and host (AF_VSOCK), the guest's address being CID, 3 or more. uds=PATH: who connects to this Unix socket and writes CONNECT PORT is at that port of the guest; the guest's connections to port P are at PATH_P. See docs/guide/sockets.md.",
  parseVsock,
);

/** Throws UsageError. */
export function parseVsock(text: string): VsockOptions {
  const [, digits = "", rest] = /^([^,]*)(?:,(.*))?$/s.exec(text) ?? [];
  const cid = /^\d{1,10}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!(cid >= FIRST && cid <= LAST)) {
    throw new UsageError(
      `"${digits}" is no address of a guest. Give a whole number, ${FIRST} or more: --vsock ${FIRST}.`,
    );
  }
  if (rest === undefined) return { cid };
  const [, socketPath] = /^uds=(.+)$/s.exec(rest) ?? [];
  if (socketPath === undefined) throw new UsageError(`"${rest}" is nothing that --vsock has. Possible: uds=PATH.`);
  return { cid, socketPath };
}
