/** KVM's exits that no guest should cause, in words (Linux, api.rst: KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR). */
import { EXIT, INTERNAL_NDATA_MAX, RUN } from "./abi.ts";

const SUBERRORS: Readonly<Record<number, string>> = {
  1: "an instruction had to be emulated, and KVM cannot",
  2: "an event came up while another one was delivered",
  3: "a fault came up while an event was delivered",
  4: "the processor left guest mode for a reason that KVM does not know",
};

/** `run`: struct kvm_run after KVM_RUN. */
export function describeError(run: DataView): string {
  const reason = run.getUint32(RUN.exit_reason, true);
  if (reason === EXIT.FAIL_ENTRY) {
    const why = run.getBigUint64(RUN.hardware_entry_failure_reason, true);
    return `the processor refused to enter the guest (KVM_EXIT_FAIL_ENTRY, hardware reason 0x${why.toString(16)})`;
  }
  if (reason !== EXIT.INTERNAL_ERROR) return `KVM left the guest with reason ${reason}, which is not handled`;
  const suberror = run.getUint32(RUN.internal_suberror, true);
  const count = Math.min(run.getUint32(RUN.internal_ndata, true), INTERNAL_NDATA_MAX);
  const data = Array.from({ length: count }, (_, i) => run.getBigUint64(RUN.internal_data + 8 * i, true));
  const words = SUBERRORS[suberror] ?? "of an unknown kind";
  const more = count > 0 ? `; data ${data.map((word) => `0x${word.toString(16)}`).join(" ")}` : "";
  return `KVM gave up (KVM_EXIT_INTERNAL_ERROR, suberror ${suberror}: ${words}${more})`;
}
