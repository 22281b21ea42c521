/**
 * Switches of V8 that guest code runs quicker with, each by a test of what it does: V8 takes unknown flags in silence.
 */
import { setFlagsFromString } from "node:v8";

let isSet = false;

/**
 * Modules' hints which way a branch goes are followed: code for what rarely happens moves out of the way. To be called
 * before the first module is made; for the whole process.
 */
export function hintBranches(): void {
  if (isSet) return;
  isSet = true;
  setFlagsFromString("--experimental-wasm-branch-hinting");
}
