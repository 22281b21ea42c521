/** The sandbox of a process that runs a VM (Linux). */

export type { ResourceLimits } from "./control-group.ts";
export {
  missingLayers,
  SandboxError,
  type SandboxErrorCode,
  type SandboxFinding,
  type SandboxLayer,
} from "./findings.ts";
export type { FileAccess, FileRule } from "./landlock.ts";
export {
  type Confined,
  type ConfinePlan,
  confineAndRestart,
  type SealOptions,
  sandboxSupport,
  seal,
  takeConfined,
} from "./lock-down.ts";
