/** What firmware code hands to the machine: bytes that have to be in guest memory before the first instruction. */
import type { Gpa } from "../memory/guest-memory.ts";

export interface GuestWrite {
  readonly gpa: Gpa;
  readonly bytes: Uint8Array;
}
