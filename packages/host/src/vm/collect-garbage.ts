/**
 * V8's collector, called when there is much for it that V8 cannot know: a dropped module's few objects hold code and
 * bytes outside of the heap. `--expose-gc` is on only while the function is fetched.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let known: (() => void) | undefined;

/** Collects all garbage of the caller's thread, in some tens of milliseconds. Does nothing where that is not to be had. */
export function collectGarbage(): void {
  known ??= fetchCollector();
  known();
}

function fetchCollector(): () => void {
  setFlagsFromString("--expose-gc");
  try {
    const found: unknown = runInNewContext("typeof gc === 'function' ? gc : undefined");
    return typeof found === "function" ? () => void found() : () => {};
  } finally {
    setFlagsFromString("--no-expose-gc");
  }
}
