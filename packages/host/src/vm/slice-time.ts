/** How long a machine's thread runs the guest between two looks at the outside. */
import { VmError } from "./vm-error.ts";

const DEFAULT_SLICE_NS = 200_000;
/** On kvm a slice ends by a signal, which costs as much as several exits; whoever wants something kicks. */
const DEFAULT_KVM_SLICE_NS = 20_000_000;

export function defaultSliceNs(engine: "jit" | "kvm"): number {
  return engine === "kvm" ? DEFAULT_KVM_SLICE_NS : DEFAULT_SLICE_NS;
}

export function checkSlice(sliceNs: number | undefined): void {
  if (sliceNs === undefined || (Number.isSafeInteger(sliceNs) && sliceNs >= 1000 && sliceNs <= 1e9)) return;
  throw new VmError("bad-option", `A slice cannot last ${sliceNs} ns. Give 1000 to 1000000000.`);
}
