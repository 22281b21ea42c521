/** Where a linear address of the guest's lies, as its page tables are now (Linux, api.rst: KVM_TRANSLATE). */
import { KVM, TRANSLATION, TRANSLATION_BYTES } from "./abi.ts";
import type { VcpuHandle } from "./vcpu-handle.ts";

/** The guest-physical address; undefined where nothing is mapped. */
export function translate(vm: VcpuHandle, linear: bigint): number | undefined {
  const request = new DataView(new ArrayBuffer(TRANSLATION_BYTES));
  request.setBigUint64(TRANSLATION.linear_address, linear, true);
  const result = vm.calls.ioctl(vm.vcpuFd, KVM.TRANSLATE, new Uint8Array(request.buffer));
  if (result < 0 || request.getUint8(TRANSLATION.valid) === 0) return undefined;
  return Number(request.getBigUint64(TRANSLATION.physical_address, true));
}
