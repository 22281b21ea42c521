/**
 * The guest's time-stamp counter, which is the processor's plus an offset that KVM keeps. It is put where the machine's
 * clock wants it when the machine starts, goes on or is restored, and then read now and then, so that the clock follows
 * it (host-time.ts).
 */
import { CAP, DEVICE_ATTR, DEVICE_ATTR_BYTES, KVM, VCPU_TSC_CTRL, VCPU_TSC_OFFSET } from "./abi.ts";
import type { HostTime } from "./host-time.ts";
import { readMsrs, writeMsrs } from "./vcpu-registers.ts";
import type { VmHandle } from "./vm-handle.ts";

const IA32_TSC = 0x10;
/** Cost of an ioctl in the middle: the offset is corrected by what the first attempt was wrong. */
const ATTEMPTS = 2;
/** Even where the thread was not scheduled in between. */
const MAX_APART_NS = 10e9;

export class GuestTsc {
  readonly #vm: VmHandle;
  readonly #frequencyHz: number;
  /** Memory that does not move, 8 bytes; undefined where KVM does not tell the offset. */
  readonly #offset: { readonly view: DataView; readonly address: bigint } | undefined;
  #isFixed = false;
  /** What the counter had to say at a time of the clock. */
  #zero: { readonly tsc: bigint; readonly count: number } | undefined;

  /** `scratch`: memory that does not move, 8 bytes. */
  constructor(vm: VmHandle, frequencyHz: number, scratch: Uint8Array) {
    this.#vm = vm;
    this.#frequencyHz = frequencyHz;
    if (vm.extension(CAP.VCPU_ATTRIBUTES) <= 0) return;
    const view = new DataView(scratch.buffer, scratch.byteOffset, 8);
    this.#offset = { view, address: vm.calls.addressOf(scratch) };
  }

  get isKnown(): boolean {
    return this.#isFixed || this.#zero !== undefined;
  }

  /** The counter cannot be moved, as kvm_pvm's: the machine's clock goes by the host's alone. */
  get isFixed(): boolean {
    return this.#isFixed;
  }

  /** The clock has moved, or the guest its counter. */
  forget(): void {
    this.#zero = undefined;
  }

  /** Sets the counter to what `wanted` says, or tells `time` what it says by now. */
  follow(time: HostTime, wanted: () => bigint): void {
    if (this.#isFixed) return;
    if (this.#zero) {
      time.measured(this.#zero.count + this.#ns(this.#read() - this.#zero.tsc));
      return;
    }
    for (let i = 0; i < ATTEMPTS; i++) {
      time.refresh();
      this.#move(wanted());
    }
    time.refresh();
    const tsc = wanted();
    if (Math.abs(this.#ns(this.#read() - tsc)) > MAX_APART_NS) {
      this.#isFixed = true;
      return;
    }
    this.#zero = { tsc, count: time.count };
    time.measured(time.count);
  }

  #read(): bigint {
    return readMsrs(this.#vm, [IA32_TSC])[String(IA32_TSC)]!;
  }

  #ns(ticks: bigint): number {
    return Number((BigInt.asIntN(64, ticks) * 1_000_000_000n) / BigInt(this.#frequencyHz));
  }

  #move(to: bigint): void {
    const offset = this.#offset;
    if (!offset) {
      writeMsrs(this.#vm, [[IA32_TSC, to]]);
      return;
    }
    const request = new DataView(new ArrayBuffer(DEVICE_ATTR_BYTES));
    request.setUint32(DEVICE_ATTR.group, VCPU_TSC_CTRL, true);
    request.setBigUint64(DEVICE_ATTR.attr, BigInt(VCPU_TSC_OFFSET), true);
    request.setBigUint64(DEVICE_ATTR.addr, offset.address, true);
    const bytes = new Uint8Array(request.buffer);
    this.#vm.onVcpu("KVM_GET_DEVICE_ATTR", KVM.GET_DEVICE_ATTR, bytes);
    const is = this.#read();
    offset.view.setBigUint64(0, BigInt.asUintN(64, offset.view.getBigUint64(0, true) + to - is), true);
    this.#vm.onVcpu("KVM_SET_DEVICE_ATTR", KVM.SET_DEVICE_ATTR, bytes);
  }
}
