/**
 * A VM's state in a file, and another VM with its state and its disks, both of one moment: it stands still meanwhile. A process
 * in its sandbox makes and opens no files: it writes into those that it has open, and who asks makes the rest of them
 * (../lifecycle/outgoing-state.ts).
 */
import { basename, dirname } from "node:path";
import { isOverlay, isWritten } from "../lifecycle/kept-disks.ts";
import type { FolderState } from "../lifecycle/saved-state.ts";
import { shareDisks } from "../lifecycle/shared-disks.ts";
import { type VmFolder, vmFolder } from "../lifecycle/vm-folder.ts";
import type { Vm, VmProgress } from "../vm/vm.ts";
import { badRequest } from "./control-error.ts";
import type { ControlChannel } from "./control-streams.ts";

export interface SavingHooks {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: VmProgress) => void;
  /** It is paused, and not about to end. */
  readonly isPaused: () => boolean;
}

/** What the process of a VM that stays has open. */
export interface FolderStates {
  readonly saved: FolderState;
  readonly outgoing: FolderState;
}

/** The client's to copy: whole, and as they are until it has said so. Its disks are in its folder. */
export interface HandedOut {
  readonly stateBytes: number;
}

/** `end` ends the VM with that: it does not go on from where it was saved. Precondition: running or paused. */
export async function saveInFolder(
  vm: Vm,
  saved: FolderState,
  end: () => Promise<void>,
  hooks: SavingHooks,
): Promise<void> {
  requireNoScratch(vm);
  requireEmptyBays(vm);
  await whilePaused(vm, hooks, async () => {
    await vm.save(saved, hooks);
    try {
      await end();
    } catch (error) {
      saved.clear();
      throw error;
    }
  });
}

/** It goes on. Precondition: running or paused. */
export async function saveTo(vm: Vm, path: string, hooks: SavingHooks): Promise<void> {
  requireNoScratch(vm);
  requireNoWrites(vm);
  await whilePaused(vm, hooks, () => vm.save(path, hooks));
}

/** `from`, `to`: the folders of the VM, and of the one that is made. Precondition: running or paused. */
export async function cloneTo(vm: Vm, from: string, to: string, hooks: SavingHooks): Promise<void> {
  requireNoScratch(vm);
  requireEmptyBays(vm);
  const [own, other] = [from, to].map((path) => vmFolder(dirname(path), basename(path))) as [VmFolder, VmFolder];
  await whilePaused(vm, hooks, async () => {
    await vm.save(other.saved, hooks);
    await vm.disks.exchange((onMoved) => shareDisks(own, other, vm.disks.images, { onMoved }));
  });
}

/** The VM stands still until the client has copied them. Precondition: running or paused. */
export async function handOut(
  vm: Vm,
  out: "state" | "clone",
  outgoing: FolderState,
  channel: ControlChannel,
  hooks: SavingHooks,
): Promise<void> {
  requireNoScratch(vm);
  if (out === "state") requireNoWrites(vm);
  else {
    requireEmptyBays(vm);
    requireOwnDisks(vm, vmFolder(dirname(dirname(outgoing.path)), basename(dirname(outgoing.path))));
  }
  await whilePaused(vm, hooks, async () => {
    try {
      await vm.save(outgoing, hooks);
      if (out === "clone") await vm.disks.flush();
      const handed: HandedOut = { stateBytes: outgoing.sizeBytes };
      await channel.tell({ handed });
      await channel.input();
    } finally {
      outgoing.clear();
    }
  });
}

async function whilePaused(vm: Vm, { isPaused }: SavingHooks, action: () => Promise<void>): Promise<void> {
  if (vm.state === "paused") return await action();
  await vm.pause();
  try {
    await action();
  } finally {
    // One that has ended meanwhile stays so.
    if (isPaused()) await vm.resume();
  }
}

function requireNoWrites(vm: Vm): void {
  const written = vm.disks.images.find((disk) => disk && isWritten(disk));
  if (written === undefined) return;
  throw badRequest(
    `VM ${vm.name} goes on writing to ${written.path}, which would not agree with that file any more. Save it without a file, or clone it.`,
  );
}

function requireOwnDisks(vm: Vm, folder: VmFolder): void {
  const other = vm.disks.images.find((disk) => disk && isWritten(disk) && !isOverlay(folder, disk));
  if (other === undefined) return;
  throw badRequest(
    `VM ${vm.name} writes to ${other.path} itself, and its process is in its sandbox, where it cannot change to an overlay. Turn it off and clone it once: from then on what it writes is in its folder, and it can be cloned while it runs. Or start it with --sandbox off.`,
  );
}

function requireNoScratch(vm: Vm): void {
  const scratch = vm.disks.images.find((disk) => disk?.isEphemeral);
  if (scratch === undefined) return;
  throw badRequest(
    `What VM ${vm.name} has written to ${scratch.path} is ephemeral, and would be missing in a saved state. Turn it off first.`,
  );
}

/** What a VM's folder says of its disks knows nothing of them. */
function requireEmptyBays(vm: Vm): void {
  const [what] = [...vm.disks.inBays.map(({ path }) => path), ...vm.network.inBays];
  if (what === undefined) return;
  throw badRequest(
    `VM ${vm.name} has ${what} in a bay, which its next start would not know. Take it out first: twinmetal eject.`,
  );
}
