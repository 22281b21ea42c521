/** A VM that stays: it is saved into its folder, and goes on from there with its next start, once. */
import type { RunValues } from "./boot-plan.ts";
import type { Io } from "./command.ts";
import type { HostingPlan } from "./hosting.ts";
import { limitsOf } from "./limit-choice.ts";
import type { SandboxPlan } from "./sandbox.ts";
import { translationCache } from "./translation-cache.ts";
import { FolderState, savedDiscs, type VmFolder, withDiscs } from "./vm-library.ts";

/** Opens its state files, as its process may go into its sandbox. */
export function withSavedState(io: Io, plan: HostingPlan, values: RunValues, folder: VmFolder): HostingPlan {
  const saved = FolderState.open(folder.saved);
  const outgoing = FolderState.open(folder.outgoing);
  let isSaved = saved.isThere;
  const { kernel, initrd, firmware, vsock, engine, tier, record, gdb, smp } = values;
  const isFile = firmware !== undefined && firmware !== "bios" && firmware !== "uefi";
  return {
    ...plan,
    ...(isSaved && plan.sandbox && { sandbox: withDiscsInReach(plan.sandbox, folder) }),
    admit: async () => await plan.admit?.(isSaved ? io.library.readStateSpec(saved.path) : undefined),
    create: async (signal, onProgress, control) => {
      control.states = { saved, outgoing };
      if (!isSaved) return await plan.create(signal, onProgress, control);
      control.isRestored = true;
      const vm = await io.library.restoreVm(saved.path, {
        kernel,
        initrd,
        ...(isFile && { firmware }),
        variables: folder.variables,
        disks: withDiscs((await plan.disks?.(signal)) ?? [], await savedDiscs(folder)),
        networks: plan.networks,
        vsockPath: vsock?.socketPath,
        shares: plan.shares,
        limits: limitsOf(values),
        name: folder.name,
        engine,
        tier,
        translationCache: translationCache(values.translationCache, io.env),
        record,
        startsPaused: gdb?.isWaiting,
        smp: smp ?? (gdb ? "turns" : undefined),
        onReboot: values.onReboot,
        signal,
        onProgress,
      });
      vm.on("state", () => {
        control.isRestored = false;
      });
      return vm;
    },
    onReady: () => {
      if (isSaved) saved.clear();
      isSaved = false;
    },
  };
}

function withDiscsInReach(sandbox: SandboxPlan, folder: VmFolder): SandboxPlan {
  const confine: SandboxPlan["confine"] = async (...args) => {
    const [plan, discs] = await Promise.all([sandbox.confine(...args), savedDiscs(folder)]);
    const files = discs.flatMap(({ path }) => (path === null ? [] : [{ path, access: "read" } as const]));
    return { ...plan, files: [...plan.files, ...files] };
  };
  return { ...sandbox, confine };
}
