/**
 * V8's own optimised code of a module, kept across processes: %SerializeWasmModule and %DeserializeWasmModule, which V8
 * has for its streaming interface, and which `--allow-natives-syntax` makes callable. The flag is on only while the two
 * are bound. V8 puts its version, its flags and the CPU into what it writes, and takes nothing else; so does the name
 * that it is kept under (`nativeTag`), since V8's own checks stop there: whoever wrote the bytes is trusted.
 *
 * A module without optimised code ends the process, and so might another version's idea of the two functions:
 * `compileAndSerialize` is for a process of its own, and what it wrote is tried in yet another (native-keeper.ts) before
 * a VM's process takes it.
 */
import { cachedDataVersionTag, setFlagsFromString } from "node:v8";
import { largeBytes } from "@twinmetal/core/large-bytes";
import { hintBranches } from "./v8-flags.ts";

interface Natives {
  readonly serialize: (module: WebAssembly.Module) => ArrayBuffer;
  readonly deserialize: (native: ArrayBuffer, wire: Uint8Array) => WebAssembly.Module | undefined;
}

/** Names V8's version, its flags and the CPU: equal where one's code is the other's. */
export function nativeTag(): string {
  hintBranches();
  return cachedDataVersionTag().toString(16);
}

/** Undefined where this V8 has no such functions. To be called at once: V8 forgets code that lies unused. */
function bind(): Natives | undefined {
  setFlagsFromString("--allow-natives-syntax");
  try {
    // In parentheses, or they would be compiled when they are called.
    const made: unknown = new Function(
      "return {serialize:(function(m){return %SerializeWasmModule(m)}),deserialize:(function(b,w){return %DeserializeWasmModule(b,w)})}",
    )();
    return made as Natives;
  } catch {
    return undefined;
  } finally {
    setFlagsFromString("--no-allow-natives-syntax");
  }
}

/** Undefined if V8 does not take it. */
export function deserialize(native: Uint8Array, wire: Uint8Array): WebAssembly.Module | undefined {
  hintBranches();
  const tag = nativeTag();
  const natives = bind();
  if (!natives || nativeTag() !== tag) return undefined;
  const own = largeBytes(native.length);
  own.set(native);
  const made: unknown = natives.deserialize(own.buffer, wire);
  return made instanceof WebAssembly.Module ? made : undefined;
}

/** Every function of the module as the optimising compiler makes it. Undefined where that is not to be had. */
export function compileAndSerialize(wire: Uint8Array<ArrayBuffer>): Uint8Array | undefined {
  const tag = nativeTag();
  setFlagsFromString("--no-liftoff");
  setFlagsFromString("--no-wasm-lazy-compilation");
  const module = new WebAssembly.Module(wire);
  // --no-liftoff takes dynamic tiering with it.
  for (const flag of ["--liftoff", "--wasm-lazy-compilation", "--wasm-dynamic-tiering"]) setFlagsFromString(flag);
  const natives = bind();
  if (!natives || nativeTag() !== tag) return undefined;
  return new Uint8Array(natives.serialize(module));
}
