/** A VM's state in a file, and another VM with its state and its disks, both of one moment: it stands still meanwhile. */
import { basename, dirname } from "node:path";
import { isWritten } from "../lifecycle/kept-disks.ts";
import { shareDisks } from "../lifecycle/shared-disks.ts";
import { type VmFolder, vmFolder } from "../lifecycle/vm-folder.ts";
import type { Vm, VmProgress } from "../vm/vm.ts";
import { badRequest } from "./control-error.ts";

export interface SavingHooks {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: VmProgress) => void;
  /** It is paused, and not about to end. */
  readonly isPaused: () => boolean;
}

/** `end`: what ends the VM with that; undefined: it goes on. Precondition: running or paused. */
export async function saveTo(
  vm: Vm,
  path: string,
  end: (() => Promise<void>) | undefined,
  hooks: SavingHooks,
): Promise<void> {
  requireNoScratch(vm);
  if (end) requireEmptyBays(vm);
  const written = end ? undefined : vm.disks.images.find((disk) => disk && isWritten(disk));
  if (written)
    throw badRequest(
      `VM ${vm.name} goes on writing to ${written.path}, which would not agree with ${path} any more. Save it without a file, or clone it.`,
    );
  await whilePaused(vm, hooks, async () => {
    await vm.save(path, hooks);
    await end?.();
  });
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

function requireNoScratch(vm: Vm): void {
  const scratch = vm.disks.images.find((disk) => disk?.isEphemeral);
  if (scratch === undefined) return;
  throw badRequest(
    `What VM ${vm.name} has written to ${scratch.path} is ephemeral, and would be missing in a saved state. Turn it off first.`,
  );
}

/** What a VM's folder says of its disks knows nothing of them. */
function requireEmptyBays(vm: Vm): void {
  const [disk] = vm.disks.inBays;
  if (disk === undefined) return;
  throw badRequest(
    `VM ${vm.name} has ${disk.path} in a bay, which its next start would not know. Take it out first: twinmetal eject.`,
  );
}
