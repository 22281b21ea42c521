/** The line that a VM starts with where it runs slower than it could, for people at a terminal. */
import type { Io } from "./command.ts";
import type { EngineExplanation, Vm } from "./vm-library.ts";

export interface EngineChoices {
  readonly engine?: "auto" | EngineExplanation["engine"] | undefined;
  readonly clock?: "wall" | "virtual" | undefined;
  readonly record?: string | undefined;
  readonly tier?: string | undefined;
}

/** What counts instructions is the jit engine's, whatever this host has. */
export function engineNotice(io: Io, vm: Vm, { engine, clock, record, tier }: EngineChoices): string | undefined {
  if (vm.engine === "kvm" || clock === "virtual") return undefined;
  if (record !== undefined || tier !== undefined) return undefined;
  const text = io.library.explainEngine({ wanted: engine }).notice;
  return text && `${text} What helps: twinmetal engine.`;
}
