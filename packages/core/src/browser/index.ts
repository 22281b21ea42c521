/** `twinmetal/browser` beside the core itself: a VM in a page. */

export { createVm, type Vm, VmError, type VmOptions } from "./vm.ts";
export type { VmEnd, VmStats } from "./vm-protocol.ts";
