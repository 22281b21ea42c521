/**
 * A VM's shared folders as its options name them: the thread that has them, and what the machine's spec says of them. Folder n is
 * the device "shareN" of the spec; where it is, is the host's business and in no saved state.
 */
import { basename, resolve } from "node:path";
import { type DeviceSpec, isShare, isShareTag, type MachineSpec } from "@twinmetal/core";
import type { FileRule } from "../sandbox/landlock.ts";
import { VmError } from "../vm/vm-error.ts";
import { SHARE_TYPES, type ShareOptions } from "./share-protocol.ts";
import { ShareThread } from "./share-thread.ts";

const MAX_SHARES = 8;

export interface VmShares {
  /** Undefined: no shared folders. */
  readonly thread: ShareThread | undefined;
  readonly devices: readonly DeviceSpec[];
}

/** Opens them. Rejects with VmError; nothing is open then. Whoever gets them closes the thread. */
export async function openVmShares(given: readonly ShareOptions[]): Promise<VmShares> {
  const devices = given.map((share, index) => deviceOf(share, index));
  if (given.length === 0) return { thread: undefined, devices };
  const thread = startThread(
    given.map(({ path, isReadOnly = false }) => ({ path, isReadOnly })),
    devices.map(({ name }) => name),
  );
  try {
    await thread.open();
    return { thread, devices };
  } catch (error) {
    await thread.close().catch(() => {}); // It has nothing open.
    throw error;
  }
}

/**
 * For a machine that exists: the folders are those of the spec, in their order. Throws VmError if there are not as many. Not
 * opened yet.
 */
export function sharesOfSpec(spec: MachineSpec, options: readonly ShareOptions[] = []): ShareThread | undefined {
  const wanted = spec.devices.filter(isShare);
  if (wanted.length !== options.length) {
    const has = wanted.length === 1 ? "1 shared folder" : `${wanted.length} shared folders`;
    throw new VmError(
      "bad-option",
      `The VM has ${has}, and ${options.length} ${options.length === 1 ? "was" : "were"} named. Name all its folders, in their order.`,
    );
  }
  for (const [index, { name }] of options.entries()) {
    const { tag } = wanted[index]!;
    if (name !== undefined && name !== tag)
      throw new VmError("bad-option", `The VM's shared folder ${index + 1} is named ${tag}, not ${name}.`);
  }
  if (wanted.length === 0) return undefined;
  return startThread(
    options.map(({ path, isReadOnly }, index) => ({ path, isReadOnly: isReadOnly ?? wanted[index]!.isReadOnly })),
    wanted.map(({ name }) => name),
  );
}

/** What the process of a VM opens for its shared folders: for who locks that process down before. */
export function filesOfShares(shares: readonly ShareOptions[]): readonly FileRule[] {
  return shares.map(({ path, isReadOnly }) => ({ path: resolve(path), access: isReadOnly ? "read" : "share" }));
}

/** What a guest is told on its kernel's command line; that of the tiny image mounts them at /share. */
export function shareWords(devices: readonly DeviceSpec[]): string[] {
  return devices
    .filter(isShare)
    .map(({ kind, tag }) => `twinmetal.share=${kind === "virtio-9p" ? "9p" : "virtiofs"}:${tag}`);
}

function startThread(folders: ConstructorParameters<typeof ShareThread>[0], channels: readonly string[]): ShareThread {
  if (process.platform !== "linux") {
    throw new VmError(
      "share-unusable",
      "Folders can be shared on Linux hosts only, where files can be opened without following links. Copy files with the agent instead.",
    );
  }
  return new ShareThread(
    folders.map((folder) => ({ ...folder, path: resolve(folder.path) })),
    channels,
  );
}

function deviceOf({ path, name, isReadOnly = false, type = "virtiofs" }: ShareOptions, index: number): DeviceSpec {
  if (index >= MAX_SHARES)
    throw new VmError("bad-option", `A VM cannot share more than ${MAX_SHARES} folders. Give fewer.`);
  if (!SHARE_TYPES.includes(type))
    throw new VmError(
      "bad-option",
      `There is no share of type ${JSON.stringify(type)}. Give ${SHARE_TYPES.join(" or ")}.`,
    );
  const tag = name ?? basename(resolve(path));
  if (!isShareTag(tag)) {
    throw new VmError(
      "bad-option",
      `${JSON.stringify(tag)} is no name for a shared folder: give one of up to 31 letters, digits, ".", "_" and "-".`,
    );
  }
  return { kind: type === "9p" ? "virtio-9p" : "virtio-fs", name: `share${index}`, tag, isReadOnly };
}
