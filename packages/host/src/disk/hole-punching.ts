/**
 * Giving a file's space back: fallocate(2) with FALLOC_FL_PUNCH_HOLE, by koffi where it is installed. Node has no such
 * call, so without koffi, and on file systems that cannot, the answer is false, and nothing has changed.
 */
import { processCalls } from "../kvm/process-calls.ts";

const SYS_FALLOCATE = 285;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/** `offset` and `length` are within the file. */
export function punchHole(descriptor: number, offset: number, length: number): boolean {
  const calls = processCalls();
  if ("detail" in calls) return false;
  return calls.call(SYS_FALLOCATE, descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) === 0;
}
