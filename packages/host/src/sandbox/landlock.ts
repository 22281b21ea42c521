/**
 * Rules about files, for Landlock (Linux 5.13; userspace-api/landlock.rst): everything that is not named cannot be opened,
 * whoever owns it. They hold for the calling thread, threads it starts from then on, and programs it executes; what is open
 * stays open. Where the kernel knows them, also: no TCP, no signals to and no abstract sockets of others. Not covered by
 * the kernel: stat, chdir, times, owners and modes.
 */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import type { ProcessCalls } from "../kvm/process-calls.ts";
import { CALL } from "./system-calls.ts";

export type FileAccess =
  /** Files, or a directory with all that is below it. */
  | "read"
  | "execute"
  /** A file or device that is there. */
  | "write"
  /** A directory: files in it are made, written, renamed and removed. */
  | "create"
  /** A directory: all that is below it is read, made, written, renamed, linked and removed, but no devices, sockets or FIFOs. */
  | "share"
  /** A directory: a socket in it is made and removed. */
  | "socket";

export interface FileRule {
  readonly path: string;
  readonly access: FileAccess;
}

/** LANDLOCK_ACCESS_FS_* */
const FS = {
  EXECUTE: 1 << 0,
  WRITE_FILE: 1 << 1,
  READ_FILE: 1 << 2,
  READ_DIR: 1 << 3,
  REMOVE_DIR: 1 << 4,
  REMOVE_FILE: 1 << 5,
  MAKE_DIR: 1 << 7,
  MAKE_REG: 1 << 8,
  MAKE_SOCK: 1 << 9,
  MAKE_SYM: 1 << 12,
  REFER: 1 << 13,
  TRUNCATE: 1 << 14,
  IOCTL_DEV: 1 << 15,
} as const;
const FIRST_ABI_RIGHTS = 0x1fff;
const FILE_RIGHTS = FS.EXECUTE | FS.WRITE_FILE | FS.READ_FILE | FS.TRUNCATE | FS.IOCTL_DEV;
const RIGHTS: Readonly<Record<FileAccess, number>> = {
  read: FS.READ_FILE | FS.READ_DIR,
  execute: FS.READ_FILE | FS.READ_DIR | FS.EXECUTE,
  write: FS.READ_FILE | FS.WRITE_FILE | FS.TRUNCATE | FS.IOCTL_DEV,
  create: FS.READ_FILE | FS.READ_DIR | FS.WRITE_FILE | FS.TRUNCATE | FS.MAKE_REG | FS.REMOVE_FILE,
  share:
    FS.READ_FILE |
    FS.READ_DIR |
    FS.WRITE_FILE |
    FS.TRUNCATE |
    FS.REMOVE_DIR |
    FS.REMOVE_FILE |
    FS.MAKE_DIR |
    FS.MAKE_REG |
    FS.MAKE_SYM |
    FS.REFER,
  socket: FS.MAKE_SOCK | FS.REMOVE_FILE,
};
const NET_BIND_AND_CONNECT_TCP = 3;
const SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3;
/** The version from which the kernel knows each. */
const SINCE = { REFER: 2, TRUNCATE: 3, TCP: 4, IOCTL_DEV: 5, SCOPES: 6 } as const;
const CREATE_RULESET_VERSION = 1;
const RULE_PATH_BENEATH = 1;
const O_PATH_CLOEXEC = 0o10000000 | 0o2000000;

/** The version of Landlock here; 0: the kernel has none, or it is switched off. */
export function landlockVersion(calls: ProcessCalls): number {
  return Math.max(0, calls.call(CALL.landlock_create_ruleset, 0, 0, CREATE_RULESET_VERSION));
}

export interface LandlockOptions {
  readonly version: number;
  readonly hasTcp: boolean;
}

/**
 * From here on only these files. Precondition: no new privileges. Paths that are not there are left out, so a rule for
 * what is yet to be made names its directory. 0, or -errno; nothing has changed then.
 */
export function restrictFiles(calls: ProcessCalls, rules: readonly FileRule[], options: LandlockOptions): number {
  const { version, hasTcp } = options;
  const handled = handledRights(version);
  const attributes = new BigUint64Array([
    BigInt(handled),
    version >= SINCE.TCP && !hasTcp ? BigInt(NET_BIND_AND_CONNECT_TCP) : 0n,
    version >= SINCE.SCOPES ? BigInt(SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS) : 0n,
  ]);
  const sizeBytes = 8 * (version >= SINCE.SCOPES ? 3 : version >= SINCE.TCP ? 2 : 1);
  const ruleset = calls.call(CALL.landlock_create_ruleset, new Uint8Array(attributes.buffer), sizeBytes, 0);
  if (ruleset < 0) return ruleset;
  try {
    for (const rule of rules) {
      const result = addRule(calls, ruleset, rule, handled);
      if (result < 0) return result;
    }
    return calls.call(CALL.landlock_restrict_self, ruleset, 0);
  } finally {
    closeSync(ruleset);
  }
}

function handledRights(version: number): number {
  return (
    FIRST_ABI_RIGHTS |
    (version >= SINCE.REFER ? FS.REFER : 0) |
    (version >= SINCE.TRUNCATE ? FS.TRUNCATE : 0) |
    (version >= SINCE.IOCTL_DEV ? FS.IOCTL_DEV : 0)
  );
}

function addRule(calls: ProcessCalls, ruleset: number, { path, access }: FileRule, handled: number): number {
  let file: number;
  try {
    file = openSync(path, O_PATH_CLOEXEC | constants.O_NONBLOCK);
  } catch {
    return 0; // Not there, or not this user's to reach: then it cannot be opened later either.
  }
  try {
    const rights = RIGHTS[access] & handled & (fstatSync(file).isDirectory() ? ~0 : FILE_RIGHTS);
    if (rights === 0) return 0;
    // struct landlock_path_beneath_attr, packed: the rights, the descriptor.
    const rule = new DataView(new ArrayBuffer(12));
    rule.setBigUint64(0, BigInt(rights), true);
    rule.setInt32(8, file, true);
    return calls.call(CALL.landlock_add_rule, ruleset, RULE_PATH_BENEATH, new Uint8Array(rule.buffer), 0);
  } finally {
    closeSync(file);
  }
}
