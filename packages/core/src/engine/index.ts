/** `@twinmetal/core/engine`: for the thread that a machine runs in. */

export { provideCoreModule } from "../interp/core.ts";
export { JitEngine } from "./jit-engine.ts";
export { ParallelEngine, type ParallelEngineOptions } from "./parallel/parallel-engine.ts";
export { RemoteVcpu, type RestingVcpu } from "./parallel/remote-vcpu.ts";
export { VcpuDesk } from "./parallel/vcpu-desk.ts";
export { VcpuThread, type VcpuThreadHost, type VcpuThreadStart } from "./parallel/vcpu-thread.ts";
