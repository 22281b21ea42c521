/** A VM's disks that cannot do what the guest asks: said on standard error; one that is full is tried again and again. */
import type { Vm } from "./vm-library.ts";

const RETRY_MS = 2000;

/** Returns what ends it. */
export function watchDisks(vm: Vm, say: (message: string) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let isTold = false;
  const tryAgain = (): void => {
    // Paused once more, it is told of again.
    if (vm.state === "paused") void vm.resume().catch(() => {});
    else isTold = false;
  };
  const stop = vm.on("disk", ({ message, isBlocked }) => {
    if (!isBlocked) {
      say(`the guest got an error from a disk: ${message}`);
      return;
    }
    if (!isTold) say(`the guest waits, and goes on as soon as there is space: ${message}`);
    isTold = true;
    clearTimeout(timer);
    timer = setTimeout(tryAgain, RETRY_MS);
    timer.unref();
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}
