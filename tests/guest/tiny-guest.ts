/** The tiny image for tests of real guests: fetched once, or the reason why it cannot be had here. */
import { ensureTinyImage, ImageError, type TinyImage } from "../../packages/host/src/index.ts";

export type TinyGuest = { readonly image: TinyImage } | { readonly missing: string };

/** Resolves with a reason to skip where there is no network and nothing is cached; in CI too. */
export async function tinyGuest(): Promise<TinyGuest> {
  try {
    return { image: await ensureTinyImage({ signal: AbortSignal.timeout(90_000) }) };
  } catch (error) {
    const isUnavailable = error instanceof ImageError || (error as Error).name === "TimeoutError";
    if (!isUnavailable) throw error;
    return { missing: `the tiny image cannot be fetched: ${(error as Error).message}` };
  }
}
