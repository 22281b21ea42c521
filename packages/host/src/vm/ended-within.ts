/** Whether `ended` settles in this time; undefined: waits for it. Leaves no timer behind. Throws the signal's reason. */
export async function endedWithin(
  ended: Promise<unknown>,
  timeoutMs: number | undefined,
  signal?: AbortSignal,
): Promise<boolean> {
  signal?.throwIfAborted();
  let timer: NodeJS.Timeout | undefined;
  let onAbort = (): void => {};
  const others = new Promise<boolean>((resolve, reject) => {
    if (timeoutMs !== undefined) timer = setTimeout(() => resolve(false), timeoutMs);
    onAbort = () => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([ended.then(() => true), others]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
