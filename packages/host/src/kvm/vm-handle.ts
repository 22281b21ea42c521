/** A KVM virtual machine and its vCPUs, as far as the self-test and the engine both need it: descriptors and requests. */
import { CAP, ENABLE_CAP, ENABLE_CAP_BYTES, KVM, MEMORY_REGION, MEMORY_REGION_BYTES } from "./abi.ts";
import { type LinuxCalls, succeeded } from "./linux-calls.ts";
import { VcpuHandle } from "./vcpu-handle.ts";

/** Three pages below the ROM, which the kernel takes for itself where real mode needs help (KVM_SET_TSS_ADDR). */
const TSS_ADDRESS = 0xfeff_d000;
const IDENTITY_MAP_ADDRESS = 0xfeff_c000n;

export interface MemorySlot {
  readonly slot: number;
  readonly flags: number;
  readonly guestAddress: number;
  readonly sizeBytes: number;
  readonly hostAddress: bigint;
}

export class VmHandle {
  readonly calls: LinuxCalls;
  readonly kvmFd: number;
  readonly vmFd: number;
  /** Of each vCPU's kvm_run. */
  readonly runBytes: number;
  readonly #vcpus: VcpuHandle[] = [];
  readonly #mappings: bigint[] = [];
  readonly #owned: number[] = [];

  /** Throws LinuxError; nothing stays open then. */
  constructor(calls: LinuxCalls, path: string, vcpus = 1) {
    this.calls = calls;
    try {
      this.kvmFd = this.#own(calls.open(path));
      this.vmFd = this.#own(succeeded("KVM_CREATE_VM", calls.ioctl(this.kvmFd, KVM.CREATE_VM, 0)));
      // Only Intel's module takes them; the others need none.
      calls.ioctl(this.vmFd, KVM.SET_TSS_ADDR, TSS_ADDRESS);
      const identity = new Uint8Array(8);
      new DataView(identity.buffer).setBigUint64(0, IDENTITY_MAP_ADDRESS, true);
      calls.ioctl(this.vmFd, KVM.SET_IDENTITY_MAP_ADDR, identity);
      this.runBytes = succeeded("KVM_GET_VCPU_MMAP_SIZE", calls.ioctl(this.kvmFd, KVM.GET_VCPU_MMAP_SIZE, 0));
      for (let index = 0; index < vcpus; index++) this.#vcpus.push(this.#createVcpu(index));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** In the order of their APIC IDs. */
  get vcpus(): readonly VcpuHandle[] {
    return this.#vcpus;
  }

  /** The one that starts the machine. */
  get first(): VcpuHandle {
    return this.#vcpus[0]!;
  }

  extension(cap: number): number {
    return this.calls.ioctl(this.vmFd, KVM.CHECK_EXTENSION, cap);
  }

  enable(cap: keyof typeof CAP, argument: bigint): void {
    const view = new DataView(new ArrayBuffer(ENABLE_CAP_BYTES));
    view.setUint32(ENABLE_CAP.cap, CAP[cap], true);
    view.setBigUint64(ENABLE_CAP.args, argument, true);
    this.onVm(`KVM_ENABLE_CAP ${cap}`, KVM.ENABLE_CAP, new Uint8Array(view.buffer));
  }

  /**
   * Puts host memory under guest addresses. Precondition: the host's bytes neither move nor go away while the VM is open:
   * the caller keeps a WebAssembly.Memory that does not grow.
   */
  setSlot(slot: MemorySlot): void {
    const view = new DataView(new ArrayBuffer(MEMORY_REGION_BYTES));
    view.setUint32(MEMORY_REGION.slot, slot.slot, true);
    view.setUint32(MEMORY_REGION.flags, slot.flags, true);
    view.setBigUint64(MEMORY_REGION.guest_phys_addr, BigInt(slot.guestAddress), true);
    view.setBigUint64(MEMORY_REGION.memory_size, BigInt(slot.sizeBytes), true);
    view.setBigUint64(MEMORY_REGION.userspace_addr, slot.hostAddress, true);
    this.onVm("KVM_SET_USER_MEMORY_REGION", KVM.SET_USER_MEMORY_REGION, new Uint8Array(view.buffer));
  }

  /** Throws LinuxError. */
  onVm(name: string, request: number, argument: number | bigint | Uint8Array): number {
    return succeeded(name, this.calls.ioctl(this.vmFd, request, argument));
  }

  /** Precondition: no thread is in KVM_RUN, and nobody looks at a vCPU's `run` any more. */
  close(): void {
    for (const address of this.#mappings) this.calls.unmap(address, this.runBytes);
    for (const fd of this.#owned.reverse()) this.calls.close(fd);
    this.#mappings.length = 0;
    this.#owned.length = 0;
  }

  #createVcpu(index: number): VcpuHandle {
    const { calls, vmFd, runBytes } = this;
    const fd = this.#own(succeeded("KVM_CREATE_VCPU", calls.ioctl(vmFd, KVM.CREATE_VCPU, index)));
    const address = calls.map(fd, runBytes);
    this.#mappings.push(address);
    return new VcpuHandle(calls, vmFd, fd, address, runBytes);
  }

  #own(fd: number): number {
    this.#owned.push(fd);
    return fd;
  }
}
