export { askVm } from "./ask-vm.ts";
export {
  AUTOSTART_STOP_S,
  autostartUnit,
  autostartUnitName,
  autostartUnitPath,
  lingers,
  removeUnit,
  writeUnit,
} from "./autostart-unit.ts";
export type { EndChange } from "./end-change.ts";
export { keptDisks, keptImage, writtenImage } from "./kept-disks.ts";
export { LifecycleError, type LifecycleErrorCode } from "./lifecycle-error.ts";
export { type CloneVmOptions, NamedVms, type StartVmOptions, type StopVmOptions } from "./named-vms.ts";
export type { RunEnd, RunEndKind, RunRestarts } from "./run-record.ts";
export { savedDiscs, withDiscs } from "./saved-discs.ts";
export { copyState, FolderState } from "./saved-state.ts";
export {
  allowedVerbs,
  hasProcess,
  isAllowed,
  LIFECYCLE_VERBS,
  type LifecycleState,
  type LifecycleVerb,
} from "./states.ts";
export { type VmFolder, vmFolder } from "./vm-folder.ts";
export type { VmObservation } from "./vm-observation.ts";
export { VmPresence } from "./vm-presence.ts";
export type { ProcessLaunch } from "./vm-process.ts";
export { type OptionText, specWords, timeToLive, type VmSpec } from "./vm-spec.ts";
export { isVmName, VmStore } from "./vm-store.ts";
