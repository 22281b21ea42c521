/** One vCPU of a VM of KVM's: its descriptor, its kvm_run, and requests to it. Made and closed by the VM (vm-handle.ts). */
import { KVM } from "./abi.ts";
import { type LinuxCalls, succeeded } from "./linux-calls.ts";

/**
 * What ends KVM_RUN: a signal that the process ignores unless somebody has asked for it, so that one that comes too late
 * does no harm, and of which at most one is pending. It is blocked in the vCPU's thread and admitted inside KVM_RUN only.
 */
export const KICK_SIGNAL = 23; // SIGURG

export class VcpuHandle {
  readonly calls: LinuxCalls;
  readonly vmFd: number;
  readonly vcpuFd: number;
  readonly runAddress: bigint;
  readonly run: DataView;

  constructor(calls: LinuxCalls, vmFd: number, vcpuFd: number, runAddress: bigint, runBytes: number) {
    this.calls = calls;
    this.vmFd = vmFd;
    this.vcpuFd = vcpuFd;
    this.runAddress = runAddress;
    this.run = calls.viewAt(runAddress, runBytes);
  }

  /** Of the VM. */
  extension(cap: number): number {
    return this.calls.ioctl(this.vmFd, KVM.CHECK_EXTENSION, cap);
  }

  /** In the calling thread's KVM_RUN every signal but KICK_SIGNAL is blocked. */
  admitKicks(): void {
    const mask = new DataView(new ArrayBuffer(12));
    mask.setUint32(0, 8, true);
    mask.setBigUint64(4, BigInt.asUintN(64, ~(1n << BigInt(KICK_SIGNAL - 1))), true);
    this.onVcpu("KVM_SET_SIGNAL_MASK", KVM.SET_SIGNAL_MASK, new Uint8Array(mask.buffer));
  }

  /** Throws LinuxError. */
  onVcpu(name: string, request: number, argument: number | bigint | Uint8Array): number {
    return succeeded(name, this.calls.ioctl(this.vcpuFd, request, argument));
  }
}
