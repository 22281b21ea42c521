/** `--cloud-init FILE`, or `--user`, `--ssh-key`, `--password-file`: what a guest that has cloud-init is told at its start. */
import type { Io } from "./command.ts";
import { listOption, option } from "./options.ts";
import { UsageError } from "./usage-error.ts";
import type { CloudInitOptions, DiskOptions } from "./vm-library.ts";

export const CLOUD_INIT_OPTIONS = {
  cloudInit: option(
    "cloud-init",
    "FILE",
    "User data for the guest's cloud-init: a #cloud-config, whose YAML is checked, or a script. It is on a small disk of its own. See docs/guide/cloud-init.md.",
  ),
  user: option("user", "NAME", "cloud-init makes this user, who may become root by sudo. Instead of --cloud-init."),
  sshKey: listOption(
    "ssh-key",
    "FILE",
    "A public key by which ssh lets one in, as --user or as the image's own user; may be repeated: ~/.ssh/id_ed25519.pub.",
    (text) => {
      if (text === "") throw new UsageError("the value is empty.");
      return text;
    },
  ),
  passwordFile: option(
    "password-file",
    "FILE",
    "The password of --user, or of the image's own user, at the console: the file's first line. The guest gets its hash.",
  ),
  hostname: option("hostname", "NAME", "The guest's host name, by cloud-init."),
};

export interface CloudInitValues {
  readonly cloudInit?: string | undefined;
  readonly user?: string | undefined;
  readonly sshKey?: readonly string[] | undefined;
  readonly passwordFile?: string | undefined;
  readonly hostname?: string | undefined;
}

/** Undefined: nothing of it was given. */
export function cloudInitOf(values: CloudInitValues): CloudInitOptions | undefined {
  const { cloudInit: userData, user, sshKey: sshKeys, passwordFile, hostname } = values;
  const isGiven = [userData, user, sshKeys, passwordFile, hostname].some((value) => value !== undefined);
  return isGiven ? { userData, user, sshKeys, passwordFile, hostname } : undefined;
}

/** The files that are read for it. */
export function filesOfCloudInit({ userData, sshKeys = [], passwordFile }: CloudInitOptions): string[] {
  return [userData, ...sshKeys, passwordFile].filter((path) => path !== undefined);
}

/** The small disk that cloud-init reads, behind all others; none where it is told nothing. What is wrong is told at once. */
export async function seedDisks(io: Io, values: CloudInitValues): Promise<DiskOptions[]> {
  const cloudInit = cloudInitOf(values);
  if (cloudInit === undefined) return [];
  const onWarning = (message: string): void => void io.stderr.write(`twinmetal: ${message}\n`);
  const path = await io.library.ensureCloudInitSeed({ ...cloudInit, onWarning });
  return [{ path, format: "raw", isReadOnly: true }];
}
