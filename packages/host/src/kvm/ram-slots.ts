/**
 * KVM's memory slots for RAM: one for each segment, and two for the first where a VGA's window lies in it, whose accesses
 * then leave the guest. RAM behind the window stays in the host's memory, so that nothing else moves.
 */
import { MEMORY_MAP, type MemorySegment } from "@twinmetal/core";

export interface RamSlot {
  readonly slot: number;
  /** Guest-physical. */
  readonly start: number;
  readonly sizeBytes: number;
  /** In the host's memory, from RAM's start on. */
  readonly at: number;
}

export const ROM_SLOT = 2;
const ABOVE_WINDOW_SLOT = 3;

export function ramSlots(segments: readonly MemorySegment[], hasVga: boolean): RamSlot[] {
  const windowEnd = MEMORY_MAP.vgaStart + MEMORY_MAP.vgaSizeBytes;
  const slots: RamSlot[] = [];
  let at = 0;
  for (const [slot, { start, sizeBytes }] of segments.entries()) {
    if (hasVga && start === 0 && sizeBytes > windowEnd) {
      slots.push({ slot, start, sizeBytes: MEMORY_MAP.vgaStart, at });
      slots.push({ slot: ABOVE_WINDOW_SLOT, start: windowEnd, sizeBytes: sizeBytes - windowEnd, at: at + windowEnd });
    } else slots.push({ slot, start, sizeBytes, at });
    at += sizeBytes;
  }
  return slots;
}
