/**
 * What a recording says of the run it belongs to, and whether a machine is one that can replay it. The files of the boot
 * are named by their hashes in the spec; the header repeats them by role, so that tools can say which file is wrong.
 */
import type { StateValue } from "../devices/device.ts";
import { encodeState } from "../state/codec.ts";
import { toHex } from "../state/sha256.ts";
import type { RecordingHeader } from "./event-format.ts";
import { ReplayError } from "./events.ts";
import { type MachineSpec, specFromState, specToState } from "./spec.ts";

/** `startHash`: of the state that the run starts from; null when it starts with power-on. */
export function recordingHeader(spec: MachineSpec, startHash: Uint8Array | null): RecordingHeader {
  const files: Record<string, Uint8Array> = {};
  if (spec.boot) files["kernel"] = fromHex(spec.boot.kernel.sha256);
  if (spec.boot?.initrd) files["initrd"] = fromHex(spec.boot.initrd.sha256);
  for (const [i, { file }] of (spec.boot?.modules ?? []).entries()) files[`module${i}`] = fromHex(file.sha256);
  return { spec: specToState(spec), startHash, files };
}

/** The machine to build for a replay. Throws ReplayError if it is none that this version can build. */
export function recordedSpec(header: RecordingHeader): MachineSpec {
  try {
    return specFromState(header.spec, "recording.spec");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ReplayError("foreign", `This version cannot build the recorded machine: ${why}`);
  }
}

/** Throws ReplayError("foreign") unless a machine of this spec, in this state, can replay the recording. */
export function checkRecording(header: RecordingHeader, spec: MachineSpec, startHash: Uint8Array | null): void {
  const own = recordingHeader(spec, startHash);
  for (const role of new Set([...Object.keys(own.files), ...Object.keys(header.files)])) {
    const [ours, theirs] = [own.files[role], header.files[role]];
    if (sameBytes(ours, theirs)) continue;
    const wanted = theirs ? `the ${role} with SHA-256 ${toHex(theirs)}` : `no ${role}`;
    throw new ReplayError("foreign", `The recording was made with ${wanted}. Give the same files for a replay.`);
  }
  const ours = own.spec as { readonly [key: string]: StateValue };
  // Through this version's form: a field that came later has its default.
  const theirs = specToState(recordedSpec(header)) as { readonly [key: string]: StateValue };
  const fields = new Set([...Object.keys(ours), ...Object.keys(theirs)]);
  for (const field of fields) {
    const [left, right] = [ours[field], theirs[field]];
    if (left !== undefined && right !== undefined && sameBytes(encodeState(left), encodeState(right))) continue;
    throw new ReplayError("foreign", `The recording belongs to another machine: its ${field} differs.`);
  }
  if (header.startHash === null && startHash === null) return;
  if (header.startHash !== null && startHash !== null && sameBytes(header.startHash, startHash)) return;
  throw new ReplayError(
    "foreign",
    header.startHash === null
      ? "The recording starts with power-on, and not from a saved state."
      : "The recording starts from another saved state. Restore the state that it was made from.",
  );
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
}
