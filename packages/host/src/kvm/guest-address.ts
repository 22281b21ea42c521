/** Where a linear address of the guest's lies, as its page tables are now (Linux, api.rst: KVM_TRANSLATE). */
import type { GuestMemory } from "@twinmetal/core";
import { PAGE_BYTES } from "@twinmetal/core/vcpu";
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

const CODE_BYTES = 15;

/** The bytes at a linear address, as far as they are there: for messages. */
export function codeAt(vcpu: VcpuHandle, memory: GuestMemory, linear: bigint): string {
  const gpa = translate(vcpu, linear);
  if (gpa === undefined) return "nothing that could be read";
  const bytes = new Uint8Array(Math.min(CODE_BYTES, PAGE_BYTES - (gpa % PAGE_BYTES)));
  if (!memory.read(gpa, bytes)) return "nothing that could be read";
  return `the code ${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}`;
}
