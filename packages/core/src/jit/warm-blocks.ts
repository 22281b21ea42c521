/** Code that was warm, or whose turn did not come, when a machine's blocks go: worth a translation for a later run. */
import * as L from "../cpu/layout.ts";
import type { Core } from "../interp/core.ts";
import type { CodeAround } from "./code-around.ts";
import { PAGE_BYTES } from "./region.ts";
import type { Requests } from "./requests.ts";
import type { Pages } from "./translations.ts";
import type { WarmEntry } from "./warm-code.ts";

/** How often a block has to have run by then. */
const WARM_ROUNDS = 200;
const MAX_WARM = 2048;
/** For fewer it is not worth while. */
const FEW_WARM = 32;

interface Found {
  readonly entry: Omit<WarmEntry, "reached">;
  readonly rounds: number;
}

/** The hottest first. `heat`: of a block that has not run. `isCovered`: a block at that host address is part of a region. */
export function warmBlocks(
  { view, decoder }: Core,
  code: CodeAround,
  requests: Requests,
  heat: number,
  isCovered: (host: number) => boolean,
): readonly WarmEntry[] {
  const waiting = requests.alive();
  const found: Found[] = waiting.map((request) => {
    const { mode, host, pages } = request;
    return { entry: { mode, host, pages }, rounds: heat + requests.roundsSince(request) };
  });
  const known = new Set(waiting.map(({ block }) => block));
  for (const block of decoder.known()) {
    const left = view.getInt32(block + L.BLOCK_HEAT, true);
    const host = view.getUint32(block + L.BLOCK_HOST, true);
    if (left <= 0 || left > heat - WARM_ROUNDS || known.has(block) || isCovered(host)) continue;
    const page = (host & ~0xfff) >>> 0;
    // Beside it in memory, which is what lies beside it for the guest as well where it matters most: in a kernel.
    const pages: Pages = [decoder.holdsCode(page - PAGE_BYTES), page, decoder.holdsCode(page + PAGE_BYTES)];
    const mode = view.getInt32(block + L.BLOCK_MODE, true);
    found.push({ entry: { mode, host, pages }, rounds: heat - left });
  }
  if (found.length < FEW_WARM) return [];
  found.sort((a, c) => c.rounds - a.rounds);
  return found
    .slice(0, MAX_WARM)
    .map(({ entry }) => ({ ...entry, reached: code.reached(entry.pages, entry.mode, heat) }));
}
