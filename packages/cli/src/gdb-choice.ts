/** `--gdb`: where a debugger connects to the VM, and whether the guest waits for one before it goes on. */
import { option } from "./options.ts";
import { UsageError } from "./usage-error.ts";
import type { GdbAddress } from "./vm-library.ts";

export interface GdbChoice {
  readonly address: GdbAddress;
  readonly isWaiting: boolean;
}

const MAX_PORT = 65_535;

export const GDB = option(
  "gdb",
  "WHERE[,wait]",
  "Wait for GDB: unix:PATH (a Unix socket), or tcp:[HOST:]PORT (HOST: 127.0.0.1). With wait the guest stands still until GDB lets it go on.",
  parseGdb,
);

export function parseGdb(text: string): GdbChoice {
  const isWaiting = text.endsWith(",wait");
  const where = isWaiting ? text.slice(0, -",wait".length) : text;
  const path = /^unix:(.+)$/s.exec(where)?.[1];
  if (path !== undefined) return { address: { kind: "unix", path }, isWaiting };
  const [, host, digits] = /^tcp:(?:(.+):)?(\d{1,5})$/.exec(where) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > MAX_PORT)
    throw new UsageError(
      `"${text}" is no place for GDB. Give unix:PATH or tcp:[HOST:]PORT, and ,wait if the guest shall.`,
    );
  return { address: { kind: "tcp", ...(host !== undefined && { host }), port }, isWaiting };
}

/** What to type in GDB. */
export function gdbCommand(address: GdbAddress): string {
  return `target remote ${address.kind === "unix" ? address.path : `${address.host ?? "127.0.0.1"}:${address.port}`}`;
}
