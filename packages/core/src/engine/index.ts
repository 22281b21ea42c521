/** `@twinmetal/core/engine`: for the thread that a machine runs in. */

export { provideCoreModule } from "../interp/core.ts";
export { JitEngine } from "./jit-engine.ts";
