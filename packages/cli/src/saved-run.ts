/** The next start of a VM that stays and was saved: it goes on from its state, once. */
import type { RunValues } from "./boot-plan.ts";
import type { Io } from "./command.ts";
import type { HostingPlan } from "./hosting.ts";
import { limitsOf } from "./limit-choice.ts";
import { translationCache } from "./translation-cache.ts";
import { SavedState, type VmFolder } from "./vm-library.ts";

/** `plan` as it is where nothing was saved. */
export function fromSavedState(io: Io, plan: HostingPlan, values: RunValues, folder: VmFolder): HostingPlan {
  let saved = SavedState.find(folder);
  if (saved === undefined) return plan;
  const { kernel, initrd, firmware, vsock, engine, tier, record, gdb, smp } = values;
  const isFile = firmware !== undefined && firmware !== "bios" && firmware !== "uefi";
  return {
    ...plan,
    create: async (signal, onProgress, control) => {
      if (saved === undefined) return await plan.create(signal, onProgress, control);
      control.isRestored = true;
      const vm = await io.library.restoreVm(saved.path, {
        kernel,
        initrd,
        ...(isFile && { firmware }),
        variables: folder.variables,
        disks: await plan.disks?.(signal),
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
      saved?.spend();
      saved = undefined;
    },
  };
}
