/** A promise that is waited for until a time or an abort, whichever comes first. */

/** Rejects with `createError()` or the signal's reason; the promise goes on, and its end is then nobody's. */
export async function withDeadline<T>(
  promise: Promise<T>,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  createError: () => Error,
): Promise<T> {
  promise.catch(() => {});
  signal?.throwIfAborted();
  let stop = (): void => {};
  const interrupted = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(createError()), timeoutMs);
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    stop = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
  });
  try {
    return await Promise.race([promise, interrupted]);
  } finally {
    stop();
  }
}
