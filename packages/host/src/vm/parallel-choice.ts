/** Whether a VM's vCPUs run in parallel, and what that excludes. */
import type { VmOptions } from "./vm.ts";
import { VmError } from "./vm-error.ts";

/** Throws VmError "bad-option" where they cannot, and it was asked for. */
export function runsInParallel({ smp, cpus = 1, clock, record, tier }: VmOptions, engine: "jit" | "kvm"): boolean {
  if (smp !== undefined && smp !== "turns" && smp !== "parallel")
    throw new VmError("bad-option", `There is no smp ${JSON.stringify(smp)}. Give "turns" or "parallel".`);
  if (smp !== "parallel") return false;
  const why = ((): string | undefined => {
    if (engine !== "jit") return `of the ${engine} engine take turns so far: use the jit engine, or leave smp out.`;
    if (process.arch !== "x64")
      return `need an x64 host, whose memory has x86's order; this one is ${process.arch}. Leave smp out, and they take turns.`;
    if (clock === "virtual")
      return "have no virtual clock, which counts the instructions of all. Leave one of the two out.";
    if (record !== undefined) return "cannot be recorded: their order is the host's. Leave one of the two out.";
    return tier === "jit" ? "have no tier that waits for translations. Use tier auto or interp." : undefined;
  })();
  if (why !== undefined) throw new VmError("bad-option", `vCPUs in parallel ${why}`);
  return cpus > 1;
}
