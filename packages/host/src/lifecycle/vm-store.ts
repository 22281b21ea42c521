/**
 * The named VMs of this user: a folder each, under DATA/vms (../data-directory.ts). Making, renaming and removing one is one
 * rename of its folder, so that a command that is killed leaves it there or not there, and never half.
 *
 *   DATA/vms/NAME/         vm-folder.ts
 *   DATA/vms/.locks/NAME   held by a command that starts, renames or removes it
 *   DATA/vms/.bases/, .locks/.bases   shared-disks.ts; held by a command that clones a VM or looks which are needed still
 *   DATA/vms/.new-*, .gone-*   folders on their way in and out; what a killed command left of them goes with the next
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ControlError } from "../control/control-error.ts";
import { dataDirectory } from "../data-directory.ts";
import { acquireLock, type FileLock } from "../image/file-lock.ts";
import { VmError } from "../vm/vm-error.ts";
import { LifecycleError } from "./lifecycle-error.ts";
import { type VmFolder, vmFolder } from "./vm-folder.ts";
import { formatSpec, parseSpec, type VmSpec } from "./vm-spec.ts";

/** What is kept of a Unix socket's path, without the byte that ends it (unix(7): sun_path). */
const MAX_SOCKET_BYTES = 107;
const BUSY_MS = 120_000;
const LEFT_OVER_MS = 3_600_000;
const PRIVATE = 0o700;

export class VmStore {
  readonly root: string;

  constructor(root: string = join(dataDirectory(), "vms")) {
    this.root = root;
  }

  /** Throws LifecycleError "bad-name". */
  folder(name: string): VmFolder {
    checkVmName(name);
    return vmFolder(this.root, name);
  }

  async has(name: string): Promise<boolean> {
    return isVmName(name) && (await isThere(this.folder(name).spec));
  }

  /** In alphabetical order. */
  async names(): Promise<readonly string[]> {
    const entries = await readdir(this.root).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw folderError(this.root, error);
    });
    const found = await Promise.all(entries.map(async (name) => ((await this.has(name)) ? [name] : [])));
    return found.flat().sort();
  }

  /** Rejects with LifecycleError "no-such-vm" or "bad-spec". */
  async read(name: string): Promise<VmSpec> {
    const { spec } = this.folder(name);
    const text = await readFile(spec, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT" && error.code !== "ENOTDIR") throw folderError(spec, error);
      throw noSuchVm(name);
    });
    return parseSpec(text, spec);
  }

  /** Rejects with LifecycleError "name-in-use". `prepare` fills the folder before anybody sees it. */
  async create(
    name: string,
    made: Pick<VmSpec, "directory" | "image" | "options"> & { readonly ttlMs?: number | undefined },
    prepare: (folder: VmFolder) => Promise<void> = async () => {},
  ): Promise<VmSpec> {
    const folder = this.folder(name);
    const socketBytes = Buffer.byteLength(folder.socket);
    if (socketBytes > MAX_SOCKET_BYTES) {
      throw new LifecycleError(
        "bad-name",
        `${folder.path} is too long for a socket in it (${socketBytes} bytes of at most ${MAX_SOCKET_BYTES}). Choose a shorter name, or a shorter TWINMETAL_HOME.`,
      );
    }
    if (await isThere(folder.path)) throw nameInUse(name);
    await this.#sweep();
    const { directory, image, options, ttlMs } = made;
    const nowMs = Date.now();
    const spec: VmSpec = {
      version: 1,
      id: randomUUID(),
      createdAt: new Date(nowMs).toISOString(),
      ...(ttlMs !== undefined && { expiresAt: new Date(nowMs + ttlMs).toISOString() }),
      directory,
      ...(image !== undefined && { image }),
      options,
    };
    const aside = vmFolder(this.root, `.new-${randomUUID()}`);
    try {
      await mkdir(aside.path, { mode: PRIVATE });
      await writeDurably(aside.spec, formatSpec(spec));
      await prepare(aside);
      await rename(aside.path, folder.path);
    } catch (error) {
      await rm(aside.path, { recursive: true, force: true });
      throw isTaken(error) ? nameInUse(name) : folderError(folder.path, error);
    }
    return spec;
  }

  /** Replaces the spec file at once. To be called with the VM's lock. */
  async write(name: string, spec: VmSpec): Promise<void> {
    const { spec: path } = this.folder(name);
    const aside = `${path}.${process.pid}`;
    try {
      await writeDurably(aside, formatSpec(spec));
      await rename(aside, path);
    } catch (error) {
      await rm(aside, { force: true });
      throw folderError(path, error);
    }
  }

  /** To be called with both names' locks. Rejects with LifecycleError "name-in-use". */
  async rename(name: string, to: string): Promise<void> {
    const [from, target] = [this.folder(name), this.folder(to)];
    if (await isThere(target.path)) throw nameInUse(to);
    await rename(from.path, target.path).catch((error: unknown) => {
      throw isTaken(error) ? nameInUse(to) : folderError(from.path, error);
    });
  }

  /** To be called with the VM's lock. */
  async remove(name: string): Promise<void> {
    const aside = join(this.root, `.gone-${randomUUID()}`);
    const { path } = this.folder(name);
    await rename(path, aside).catch((error: unknown) => {
      throw folderError(path, error);
    });
    await rm(aside, { recursive: true, force: true });
  }

  /** Waits for another command at the VM, but not for ever. Rejects with LifecycleError "busy". */
  async lock(name: string, onWait: (pid: number | undefined) => void = () => {}): Promise<FileLock> {
    checkVmName(name);
    return await this.#lock(name, `VM ${name}`, onWait);
  }

  /** Of what disks lie over. */
  async lockBases(): Promise<FileLock> {
    return await this.#lock(".bases", "what disks lie over", () => {});
  }

  async #lock(name: string, what: string, onWait: (pid: number | undefined) => void): Promise<FileLock> {
    const locks = join(this.root, ".locks");
    let holder: number | undefined;
    const late = AbortSignal.timeout(BUSY_MS);
    try {
      await mkdir(locks, { recursive: true, mode: PRIVATE });
      return await acquireLock(join(locks, name), {
        signal: late,
        pollMs: 50,
        onWait: (pid) => {
          if (pid !== holder) onWait(pid);
          holder = pid;
        },
      });
    } catch (error) {
      if (!late.aborted) throw folderError(locks, error);
      throw new LifecycleError(
        "busy",
        `Another command (process ${holder ?? "unknown"}) works on ${what}. Try again when it has ended.`,
      );
    }
  }

  async #sweep(): Promise<void> {
    await mkdir(this.root, { recursive: true, mode: PRIVATE }).catch((error: unknown) => {
      throw folderError(this.root, error);
    });
    for (const entry of await readdir(this.root).catch(() => [])) {
      if (!/^\.(new|gone)-/.test(entry)) continue;
      const path = join(this.root, entry);
      const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
      if (Date.now() - mtimeMs > LEFT_OVER_MS) await rm(path, { recursive: true, force: true });
    }
  }
}

export function isVmName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name);
}

function checkVmName(name: string): void {
  if (isVmName(name)) return;
  throw new LifecycleError(
    "bad-name",
    `${JSON.stringify(name)} is not a name. Give up to 63 letters, digits, ".", "_" and "-", a letter or digit first.`,
  );
}

export function noSuchVm(name: string): LifecycleError {
  return new LifecycleError("no-such-vm", `There is no VM ${name}. See: twinmetal ls`);
}

function nameInUse(name: string): LifecycleError {
  return new LifecycleError(
    "name-in-use",
    `There is a VM ${name} already. Give another name, or remove it first: twinmetal rm ${name}`,
  );
}

/** rename(2) onto a folder that is not empty. */
function isTaken(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOTEMPTY" || code === "EEXIST";
}

function folderError(path: string, error: unknown): LifecycleError | VmError | ControlError {
  if (error instanceof LifecycleError || error instanceof VmError || error instanceof ControlError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  return new LifecycleError("folder", `${path} cannot be used (${code ?? message}). Make room or rights there.`, {
    cause: error,
  });
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
