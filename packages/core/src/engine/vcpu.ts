/** `@twinmetal/core/vcpu`: for a thread that runs one vCPU by other means than the jit engine, and loads no more than that needs. */

export { featureSet } from "../cpu/features.ts";
export { KeptMsrs } from "../cpu/kept-msrs.ts";
export { constantMsr, ignoresMsrWrite } from "../cpu/msr-table.ts";
export { resetState } from "../cpu/reset-state.ts";
export { PAGE_BYTES, Ram } from "../memory/ram.ts";
export { debugControl, debugPlan, debugStopOf, refuseInParallel } from "./debugging.ts";
export { BOUNDARY, INSIDE, ParallelCells, RUNNING } from "./parallel/cells.ts";
export { DeviceMail } from "./parallel/mail.ts";
