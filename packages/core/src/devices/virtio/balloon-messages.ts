/**
 * What a balloon's channel carries, so that it goes through the event log like all that comes from outside. Numbers are
 * little-endian; pages have 4 KiB.
 *
 *   to the device     TARGET 01 pages:u32 | ASK 02                                              any number
 *   from the device   ACTUAL 01 pages:u32 | STATISTICS 02 count:u8 (tag:u16 value:u64)...       may be joined
 *
 * TARGET is answered by ACTUAL, which also comes whenever it changes. ASK is answered by STATISTICS as soon as the driver has told them (virtio 1.2, 5.5.6.3); their tags are the specification's.
 */

export const BALLOON_PAGE_BYTES = 4096;
const STATISTIC_BYTES = 10;

/** By tag. Of sizes the unit is a byte, of faults one of them. */
export const BALLOON_STATISTICS = [
  "swapIn",
  "swapOut",
  "majorFaults",
  "minorFaults",
  "freeBytes",
  "totalBytes",
  "availableBytes",
  "diskCacheBytes",
  "hugePageAllocations",
  "hugePageFailures",
] as const;

export type BalloonStatistics = Partial<Record<(typeof BALLOON_STATISTICS)[number], number>>;

export type BalloonRequest = { readonly kind: "target"; readonly pages: number } | { readonly kind: "ask" };

export function encodeBalloonRequest(request: BalloonRequest): Uint8Array {
  if (request.kind === "ask") return Uint8Array.of(2);
  const bytes = new Uint8Array(5);
  bytes[0] = 1;
  new DataView(bytes.buffer).setUint32(1, request.pages, true);
  return bytes;
}

/** Stops at the first thing it does not know. */
export function decodeBalloonRequests(bytes: Uint8Array): BalloonRequest[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const requests: BalloonRequest[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] === 2) {
      requests.push({ kind: "ask" });
      at++;
    } else if (bytes[at] === 1 && at + 5 <= bytes.length) {
      requests.push({ kind: "target", pages: view.getUint32(at + 1, true) });
      at += 5;
    } else break;
  }
  return requests;
}

export type BalloonReport =
  | { readonly kind: "actual"; readonly pages: number }
  | { readonly kind: "statistics"; readonly statistics: BalloonStatistics };

export function encodeActual(pages: number): Uint8Array {
  return encodeBalloonRequest({ kind: "target", pages });
}

/** `entries`: as the driver wrote them, whole ones. */
export function encodeStatistics(entries: Uint8Array): Uint8Array {
  const count = Math.min(255, Math.floor(entries.length / STATISTIC_BYTES));
  return Uint8Array.of(2, count, ...entries.subarray(0, count * STATISTIC_BYTES));
}

/** For back-ends. What a driver says twice counts as said last; tags that are not known are left out. */
export function decodeBalloonReports(bytes: Uint8Array): BalloonReport[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reports: BalloonReport[] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    if (bytes[at] === 1 && at + 5 <= bytes.length) {
      reports.push({ kind: "actual", pages: view.getUint32(at + 1, true) });
      at += 5;
      continue;
    }
    const end = at + 2 + bytes[at + 1]! * STATISTIC_BYTES;
    if (bytes[at] !== 2 || end > bytes.length) break;
    const statistics: BalloonStatistics = {};
    for (at += 2; at < end; at += STATISTIC_BYTES) {
      const name = BALLOON_STATISTICS[view.getUint16(at, true)];
      if (name) statistics[name] = Number(view.getBigUint64(at + 2, true));
    }
    reports.push({ kind: "statistics", statistics });
  }
  return reports;
}
