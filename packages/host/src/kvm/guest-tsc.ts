/**
 * The guest's time-stamp counters, which are the processor's plus an offset that KVM keeps. They are put where the machine's
 * clock wants them when the machine starts, goes on or is restored, and then read now and then, so that the clock follows
 * them (host-time.ts).
 *
 * Several vCPUs have one offset, but for what each has been told to add (IA32_TSC_ADJUST): the first that runs finds it, the
 * others take it over, so that no guest sees one counter behind another. Where KVM does not tell the offset each is put by
 * writing it.
 */
import { CAP, DEVICE_ATTR, DEVICE_ATTR_BYTES, KVM, VCPU_TSC_CTRL, VCPU_TSC_OFFSET } from "./abi.ts";
import type { HostTime } from "./host-time.ts";
import type { VcpuHandle } from "./vcpu-handle.ts";
import { readMsrs, writeMsrs } from "./vcpu-registers.ts";

const IA32_TSC = 0x10;
/** Cost of an ioctl in the middle: the offset is corrected by what the first attempt was wrong. */
const ATTEMPTS = 2;
/** Even where the thread was not scheduled in between. */
const MAX_APART_NS = 10e9;

/** Where the counters of a VM are, all adjustments left out. */
export class TscPlace {
  /** What a counter had to say at a time of the clock. */
  zero: { readonly tsc: bigint; readonly count: number } | undefined;
  /** KVM's offset, where it tells. */
  offset: bigint | undefined;
  /** The counters cannot be moved, as kvm_pvm's: the machine's clock goes by the host's alone. */
  isFixed = false;
  /** How often they had to be put anew. */
  generation = 0;

  /** The clock has moved. */
  forget(): void {
    this.zero = undefined;
    this.offset = undefined;
    this.generation++;
  }
}

export class GuestTsc {
  readonly #vcpu: VcpuHandle;
  readonly #frequencyHz: number;
  readonly #place: TscPlace;
  /** Memory that does not move, 8 bytes; undefined where KVM does not tell the offset. */
  readonly #offset: { readonly view: DataView; readonly address: bigint } | undefined;
  /** The generation in which this counter was put where it belongs. */
  #placedIn = -1;
  #adjust = 0n;

  /** `scratch`: memory that does not move, 8 bytes. */
  constructor(vcpu: VcpuHandle, frequencyHz: number, place: TscPlace, scratch: Uint8Array) {
    this.#vcpu = vcpu;
    this.#frequencyHz = frequencyHz;
    this.#place = place;
    if (vcpu.extension(CAP.VCPU_ATTRIBUTES) <= 0) return;
    const view = new DataView(scratch.buffer, scratch.byteOffset, 8);
    this.#offset = { view, address: vcpu.calls.addressOf(scratch) };
  }

  get isKnown(): boolean {
    return this.#place.isFixed || this.#placedIn === this.#place.generation;
  }

  /** The guest has moved its counter. */
  forget(): void {
    this.#placedIn = -1;
  }

  /** Sets the counter to what `wanted` says, `adjust` included, or tells `time` what it says by now. */
  follow(time: HostTime, wanted: () => bigint, adjust: bigint): void {
    const place = this.#place;
    if (place.isFixed) return;
    if (this.isKnown && place.zero) {
      time.measured(place.zero.count + this.#ns(this.#read() - this.#adjust - place.zero.tsc));
      return;
    }
    this.#adjust = adjust;
    this.#placedIn = place.generation;
    if (place.zero && place.offset !== undefined) {
      this.#setOffset(place.offset + adjust);
      return;
    }
    for (let i = 0; i < ATTEMPTS; i++) {
      time.refresh();
      this.#move(wanted());
    }
    if (place.zero) return;
    time.refresh();
    const tsc = wanted();
    if (Math.abs(this.#ns(this.#read() - tsc)) > MAX_APART_NS) {
      place.isFixed = true;
      return;
    }
    place.zero = { tsc: tsc - adjust, count: time.count };
    place.offset = this.#offset && this.#offset.view.getBigUint64(0, true) - adjust;
    time.measured(time.count);
  }

  #read(): bigint {
    return readMsrs(this.#vcpu, [IA32_TSC])[String(IA32_TSC)]!;
  }

  #ns(ticks: bigint): number {
    return Number((BigInt.asIntN(64, ticks) * 1_000_000_000n) / BigInt(this.#frequencyHz));
  }

  #move(to: bigint): void {
    if (!this.#offset) {
      writeMsrs(this.#vcpu, [[IA32_TSC, to]]);
      return;
    }
    this.#attribute("KVM_GET_DEVICE_ATTR", KVM.GET_DEVICE_ATTR);
    this.#setOffset(this.#offset.view.getBigUint64(0, true) + to - this.#read());
  }

  #setOffset(offset: bigint): void {
    this.#offset!.view.setBigUint64(0, BigInt.asUintN(64, offset), true);
    this.#attribute("KVM_SET_DEVICE_ATTR", KVM.SET_DEVICE_ATTR);
  }

  #attribute(name: string, request: number): void {
    const attribute = new DataView(new ArrayBuffer(DEVICE_ATTR_BYTES));
    attribute.setUint32(DEVICE_ATTR.group, VCPU_TSC_CTRL, true);
    attribute.setBigUint64(DEVICE_ATTR.attr, BigInt(VCPU_TSC_OFFSET), true);
    attribute.setBigUint64(DEVICE_ATTR.addr, this.#offset!.address, true);
    this.#vcpu.onVcpu(name, request, new Uint8Array(attribute.buffer));
  }
}
