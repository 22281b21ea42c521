/** The built program, and ssh to a guest that may still be starting. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { repository } from "../clone.ts";

export const SHIM = join(repository, "packages", "cli", "bin", "twinmetal.mjs");
const MINUTE_MS = 60_000;
const TRIES = 360;
const BETWEEN_MS = 10_000;
/** ssh's own, beside those of commands. */
const NO_CONNECTION = 255;

export interface Ending {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ending> {
  return new Promise((resolve) => {
    const options = { timeout: 20 * MINUTE_MS, env: { ...process.env, ...env } };
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      resolve({ status: error ? Number(error.code ?? -1) : 0, stdout, stderr });
    });
    child.stdin?.end();
  });
}

/** Resolves with the private key's path; the public one has ".pub" behind it. */
export async function makeKey(folder: string): Promise<string> {
  const key = join(folder, "key");
  const { status, stderr } = await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  if (status !== 0) throw new Error(stderr);
  return key;
}

export interface SshLogin {
  readonly user: string;
  readonly key: string;
  /** On this host. */
  readonly port: string;
  /** Where the guest's key is kept. */
  readonly folder: string;
}

/** Tries again until there is a connection, for an hour. */
export async function ssh({ user, key, port, folder }: SshLogin, command: string): Promise<Ending> {
  const known = ["StrictHostKeyChecking=no", `UserKnownHostsFile=${join(folder, "known")}`, "BatchMode=yes"];
  const given = [...known, "ConnectTimeout=60"].flatMap((option) => ["-o", option]);
  for (let tries = TRIES; ; tries--) {
    const ending = await run("ssh", [...given, "-i", key, "-p", port, `${user}@127.0.0.1`, command]);
    if (ending.status !== NO_CONNECTION || tries === 0) return ending;
    await sleep(BETWEEN_MS);
  }
}
