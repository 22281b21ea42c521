/** Whether a VM's vCPUs run in parallel, and what that excludes. */
import type { VmOptions } from "./vm.ts";
import { VmError } from "./vm-error.ts";
import type { WorkerChoices } from "./worker-protocol.ts";

type ParallelOptions = Pick<VmOptions, "smp" | "cpus" | "maxCpus" | "clock" | "record" | "tier">;

/** On kvm they do where they can; on jit where it is asked for. Throws VmError "bad-option" where that cannot be. */
export function runsInParallel(
  { smp, cpus = 1, maxCpus = cpus, clock, record, tier }: ParallelOptions,
  engine: "jit" | "kvm",
): boolean {
  if (smp !== undefined && smp !== "turns" && smp !== "parallel")
    throw new VmError("bad-option", `There is no smp ${JSON.stringify(smp)}. Give "turns" or "parallel".`);
  if (smp === "turns" || (smp === undefined && engine === "jit")) return false;
  const why = ((): string | undefined => {
    if (process.arch !== "x64")
      return `need an x64 host, whose memory has x86's order; this one is ${process.arch}. Leave smp out, and they take turns.`;
    if (clock === "virtual")
      return "have no virtual clock, which counts the instructions of all. Leave one of the two out.";
    if (record !== undefined) return "cannot be recorded: their order is the host's. Leave one of the two out.";
    return tier === "jit" ? "have no tier that waits for translations. Use tier auto or interp." : undefined;
  })();
  if (why !== undefined && smp !== undefined) throw new VmError("bad-option", `vCPUs in parallel ${why}`);
  return why === undefined && maxCpus > 1;
}

/** As above, in another engine that goes on with the guest. On jit they then take turns: its parallel engine takes no memory over. */
export function goesOnInParallel({ smp, spec }: WorkerChoices, engine: "jit" | "kvm"): boolean {
  return engine === "kvm" && runsInParallel({ ...(smp === "turns" && { smp }), ...spec }, engine);
}
