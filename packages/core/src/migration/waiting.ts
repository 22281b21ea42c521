/** Waiting for one of several things, with nothing left behind: a promise, the end of a time, a wish to end it. */
import { MigrationError } from "./errors.ts";
import type { CancelSignal, MigrationTime } from "./link.ts";

/** Rejects with what `late` makes when `timeMs` are over, and with "cancelled". */
export async function within<T>(
  promise: Promise<T>,
  time: MigrationTime,
  timeMs: number,
  late: () => Error,
  cancel?: CancelSignal,
): Promise<T> {
  let stopTimer = (): void => {};
  let stopCancel = (): void => {};
  const others = new Promise<never>((_resolve, reject) => {
    if (cancel?.isCancelled) reject(cancelled());
    stopTimer = time.after(Math.max(0, timeMs), () => reject(late()));
    stopCancel = cancel?.onCancel(() => reject(cancelled())) ?? stopCancel;
  });
  others.catch(() => {}); // Where the promise wins.
  try {
    return await Promise.race([promise, others]);
  } finally {
    promise.catch(() => {}); // Where another wins.
    stopTimer();
    stopCancel();
  }
}

export async function pause(time: MigrationTime, timeMs: number, cancel?: CancelSignal): Promise<void> {
  let stop = (): void => {};
  const over = new Promise<void>((resolve) => {
    stop = time.after(timeMs, resolve);
  });
  try {
    await within(over, time, timeMs + 1000, () => cancelled(), cancel);
  } finally {
    stop();
  }
}

export function cancelled(): MigrationError {
  return new MigrationError("cancelled", "The migration was cancelled; the VM runs on where it was.");
}
