/**
 * KVM's exits and failures that no guest should cause, in words (Linux, api.rst: KVM_EXIT_FAIL_ENTRY,
 * KVM_EXIT_INTERNAL_ERROR, KVM_RUN; Intel SDM vol. 3, appendix C; AMD APM vol. 2, appendix C).
 */
import { EXIT, INTERNAL_FLAG_CODE, INTERNAL_NDATA_MAX, RUN } from "./abi.ts";
import { ERRNO, errnoName } from "./linux-calls.ts";

const EMULATION = 1;
const SUBERRORS: Readonly<Record<number, string>> = {
  [EMULATION]: "an instruction had to be emulated, and KVM cannot",
  2: "an event came up while another one was delivered",
  3: "a fault came up while an event was delivered",
  4: "the processor left guest mode for a reason that KVM does not know",
};

/** Basic exit reasons of VMX with bit 31: the entry failed. */
const VMX_ENTRY_FAILED = 0x8000_0000n;
const VMX_REASONS: Readonly<Record<number, string>> = {
  33: "the guest's state is not one that a processor can be in",
  34: "an MSR could not be loaded",
  41: "a machine check came up",
};
/** VMEXIT_INVALID, as KVM hands it on: 32 or 64 bits of -1. */
const SVM_INVALID = 0xffff_ffffn;

const RUN_FAILURES: Readonly<Record<number, string>> = {
  [ERRNO.ENOMEM]: "the host has no memory left for it",
  [ERRNO.EFAULT]: "guest memory cannot be reached in this process",
  [ERRNO.EIO]: "KVM has found a mistake of its own and runs this VM no more; the kernel's messages (dmesg) say which",
  [ERRNO.ENOENT]: "the vCPU has been parked by the host's kernel",
  [ERRNO.EPERM]: "this process may not run it",
};

/** `errno` of a KVM_RUN that failed. */
export function describeRunFailure(errno: number): string {
  const words = RUN_FAILURES[errno];
  return `KVM_RUN answered ${errnoName(errno)}${words === undefined ? "" : ` (${words})`}`;
}

/** `run`: struct kvm_run after KVM_RUN. */
export function describeError(run: DataView): string {
  const reason = run.getUint32(RUN.exit_reason, true);
  if (reason === EXIT.FAIL_ENTRY) {
    const why = run.getBigUint64(RUN.hardware_entry_failure_reason, true);
    const words = entryFailure(why);
    return `the processor refused to enter the guest (KVM_EXIT_FAIL_ENTRY, hardware reason 0x${why.toString(16)}${words})`;
  }
  if (reason !== EXIT.INTERNAL_ERROR) return `KVM left the guest with reason ${reason}, which is not handled`;
  const suberror = run.getUint32(RUN.internal_suberror, true);
  const words = SUBERRORS[suberror] ?? "of an unknown kind";
  return `KVM gave up (KVM_EXIT_INTERNAL_ERROR, suberror ${suberror}: ${words}${internalData(run, suberror)})`;
}

function entryFailure(why: bigint): string {
  if ((why & SVM_INVALID) === SVM_INVALID) return ": the guest's state is not one that a processor can be in";
  const words = (why & VMX_ENTRY_FAILED) !== 0n ? VMX_REASONS[Number(why & 0xffffn)] : undefined;
  return words === undefined ? "" : `: ${words}`;
}

/** GUEST-CONTROLLED: the code. */
function internalData(run: DataView, suberror: number): string {
  const count = Math.min(run.getUint32(RUN.internal_ndata, true), INTERNAL_NDATA_MAX);
  const data = Array.from({ length: count }, (_, i) => run.getBigUint64(RUN.internal_data + 8 * i, true));
  if (suberror === EMULATION && count >= 3 && (data[0]! & INTERNAL_FLAG_CODE) !== 0n) {
    const length = Math.min(run.getUint8(RUN.internal_code_size), 15);
    const code = Array.from({ length }, (_, i) =>
      run
        .getUint8(RUN.internal_code + i)
        .toString(16)
        .padStart(2, "0"),
    );
    return `; it begins ${code.join(" ")}`;
  }
  return count > 0 ? `; data ${data.map((word) => `0x${word.toString(16)}`).join(" ")}` : "";
}
