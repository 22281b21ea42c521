/** The part of the library that the program uses, so that tests can put another in its place. */
import * as host from "@twinmetal/host";

export type { EngineExplanation, ExecResult, ReplayResult, Vm, VmExit, VmOptions, VmProgress } from "@twinmetal/host";

export type VmLibrary = Pick<typeof host, "createVm" | "restoreVm" | "replayVm" | "ensureTinyImage" | "explainEngine">;

export const VM_LIBRARY: VmLibrary = host;
