/**
 * Notices that a Linux guest's kernel has given up: it says so on its console and then stands still for ever. Where nobody
 * is looking at that console, the run has to end by itself. The text is the guest's own claim about itself, no more.
 */
import type { Vm } from "./vm-library.ts";

const PANIC = /Kernel panic - not syncing: ?([^\r\n]{0,200})[\r\n]/;
const MAX_CARRY = 300;

/** Resolves with the kernel's reason. Never, while all is well. Call before the guest starts; `stop` ends the watch. */
export function watchForPanic(vm: Vm): { readonly panic: Promise<string>; readonly stop: () => void } {
  let stop = (): void => {};
  const panic = new Promise<string>((resolve) => {
    let carry = "";
    stop = vm.serial.onData((bytes) => {
      const text = carry + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
      const reason = PANIC.exec(text)?.[1];
      if (reason !== undefined) resolve(reason.replace(/[^\x20-\x7e]/g, "?"));
      carry = text.slice(-MAX_CARRY);
    });
  });
  return { panic, stop };
}
