/**
 * KVM's memory slots for RAM: one for each segment, and more for the first. Where a VGA's window lies in it there is none, so
 * that accesses leave the guest; RAM behind the window stays in the host's memory, so that nothing else moves. Where parts below
 * 1 MiB are protected (core's engine.ts), each run of them is a slot that stores leave, and each run between them one.
 */
import { MEMORY_MAP, type MemorySegment } from "@twinmetal/core";

export interface RamSlot {
  readonly slot: number;
  /** Guest-physical. */
  readonly start: number;
  readonly sizeBytes: number;
  /** In the host's memory, from RAM's start on. */
  readonly at: number;
  readonly isReadOnly: boolean;
}

export const ROM_SLOT = 2;
const ABOVE_WINDOW_SLOT = 3;
const FIRST_SHADOW_SLOT = 4;
const SHADOW = { start: 0xc_0000, end: 0x10_0000, partBytes: 0x4000, parts: 16 } as const;
/** Behind those of RAM and ROM. */
export const FIRST_DEVICE_SLOT: number = FIRST_SHADOW_SLOT + SHADOW.parts;

/** `protectedParts`: as in `Engine.protectShadow`. */
export function ramSlots(segments: readonly MemorySegment[], hasVga: boolean, protectedParts = 0): RamSlot[] {
  const slots: RamSlot[] = [];
  const add = (slot: number, start: number, end: number, at: number, isReadOnly = false): void => {
    if (end > start) slots.push({ slot, start, sizeBytes: end - start, at, isReadOnly });
  };
  let at = 0;
  for (const [slot, { start, sizeBytes }] of segments.entries()) {
    const windowEnd = MEMORY_MAP.vgaStart + MEMORY_MAP.vgaSizeBytes;
    const isSplit = start === 0 && sizeBytes > windowEnd;
    if (!isSplit || !(hasVga || protectedParts)) add(slot, start, start + sizeBytes, at);
    else {
      const shadowEnd = protectedParts ? Math.min(SHADOW.end, sizeBytes) : SHADOW.start;
      add(slot, 0, hasVga ? MEMORY_MAP.vgaStart : windowEnd, 0);
      for (const [i, run] of shadowRuns(protectedParts, shadowEnd).entries())
        add(FIRST_SHADOW_SLOT + i, run.start, run.end, run.start, run.isReadOnly);
      add(ABOVE_WINDOW_SLOT, shadowEnd, sizeBytes, shadowEnd);
    }
    at += sizeBytes;
  }
  return slots;
}

export function isSame(one: RamSlot, other: RamSlot): boolean {
  return (
    one.slot === other.slot &&
    one.start === other.start &&
    one.sizeBytes === other.sizeBytes &&
    one.isReadOnly === other.isReadOnly
  );
}

function shadowRuns(protectedParts: number, end: number): { start: number; end: number; isReadOnly: boolean }[] {
  const runs: { start: number; end: number; isReadOnly: boolean }[] = [];
  for (let part = 0; SHADOW.start + part * SHADOW.partBytes < end; part++) {
    const start = SHADOW.start + part * SHADOW.partBytes;
    const isReadOnly = ((protectedParts >> part) & 1) === 1;
    const last = runs.at(-1);
    const partEnd = Math.min(start + SHADOW.partBytes, end);
    if (last?.isReadOnly === isReadOnly) last.end = partEnd;
    else runs.push({ start, end: partEnd, isReadOnly });
  }
  return runs;
}
