/**
 * Virtio over PCI, modern interface only (virtio 1.2, 4.1): vendor capabilities that point into one memory BAR,
 * MSI-X or INTx, device status, feature negotiation. Together with a VirtioModel this is a whole device.
 *
 *   BAR 4   0x0000 common configuration   0x1000 ISR status   0x2000 device configuration   0x3000 notifications
 *   BAR 1   MSI-X table and pending bits: vector per queue and one for configuration changes
 *
 *   status:  reset -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK ; NEEDS_RESET on a broken rule ; 0 = reset
 *
 * ACCESS_PLATFORM is offered, not required: addresses are guest-physical all the same, but a guest whose own are not
 * (Linux on Xen) translates only where it is offered. Left out: the legacy and transitional interfaces, queue reset,
 * notification data, ORDER_PLATFORM (memory is coherent, and drivers would pay for barriers), and shared memory regions.
 */
import type { AccessSize, IoHandler } from "../../bus/io.ts";
import { CAPABILITY_ID } from "../../bus/pci/config-space.ts";
import { type Capability, PciFunction } from "../../bus/pci/function.ts";
import type { Msix } from "../../bus/pci/msix.ts";
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "../device.ts";
import { type ResetKind, VIRTIO_F, type VirtioHost, type VirtioModel } from "./model.ts";
import { Virtqueue } from "./queue.ts";

const VIRTIO_VENDOR_ID = 0x1af4;
const MODERN_DEVICE_ID_BASE = 0x1040;

export const DEVICE_STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** Offsets in the common configuration structure. */
export const COMMON_CFG = {
  device_feature_select: 0x00,
  device_feature: 0x04,
  driver_feature_select: 0x08,
  driver_feature: 0x0c,
  config_msix_vector: 0x10,
  num_queues: 0x12,
  device_status: 0x14,
  config_generation: 0x15,
  queue_select: 0x16,
  queue_size: 0x18,
  queue_msix_vector: 0x1a,
  queue_enable: 0x1c,
  queue_notify_off: 0x1e,
  queue_desc: 0x20,
  queue_driver: 0x28,
  queue_device: 0x30,
  sizeBytes: 0x38,
} as const;

const CFG_TYPE = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4, PCI: 5 } as const;
export const ISR = { QUEUE: 1, CONFIG: 2 } as const;
export const NO_VECTOR = 0xffff;

export const VIRTIO_BAR = 4;
const MSIX_BAR = 1;
export const BAR_LAYOUT = { common: 0, isr: 0x1000, device: 0x2000, notify: 0x3000, sizeBytes: 0x4000 } as const;
const REGION_BYTES = 0x1000;
export const NOTIFY_OFF_MULTIPLIER = 4;

/** Body offsets of the capability that gives access through configuration space, after identifier and next pointer. */
const PCI_CFG = { bar: 2, offset: 6, length: 10, data: 14, sizeBytes: 18 } as const;

/** Of features that belong to no device type. */
const OFFERED = [
  VIRTIO_F.VERSION_1,
  VIRTIO_F.INDIRECT_DESC,
  VIRTIO_F.EVENT_IDX,
  VIRTIO_F.ACCESS_PLATFORM,
  VIRTIO_F.RING_PACKED,
] as const;

export class VirtioPciDevice implements Device, IoHandler {
  readonly name: string;
  readonly schema: { readonly id: string; readonly version: number };
  /** For the board to plug into a PciBus. */
  readonly pci: PciFunction;
  readonly #model: VirtioModel;
  readonly #queues: readonly Virtqueue[];
  readonly #vectors: number[];
  readonly #msix: Msix;
  readonly #window: Capability;
  readonly #offered: bigint;
  #status = 0;
  #accepted = 0n;
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  #queueSelect = 0;
  #configVector: number = NO_VECTOR;
  #configGeneration = 0;
  #isr = 0;

  constructor(context: DeviceContext, name: string, createModel: (host: VirtioHost) => VirtioModel) {
    this.name = name;
    const model = createModel(this.#host(context.memory));
    this.#model = model;
    this.schema = model.schema;
    this.#offered = OFFERED.reduce((bits, bit) => bits | (1n << BigInt(bit)), model.features);
    this.#queues = model.queueSizes.map((size) => new Virtqueue(context.memory, size, () => this.#fail()));
    this.#vectors = model.queueSizes.map(() => NO_VECTOR);

    const deviceId = MODERN_DEVICE_ID_BASE + model.id;
    this.pci = new PciFunction({
      name,
      vendorId: VIRTIO_VENDOR_ID,
      deviceId,
      classCode: model.classCode,
      revisionId: 1,
      subsystemVendorId: VIRTIO_VENDOR_ID,
      subsystemId: deviceId,
      interruptPin: 1,
    });
    this.pci.addMemoryBar(VIRTIO_BAR, BAR_LAYOUT.sizeBytes, this, { wide: true });
    this.#msix = this.pci.addMsix(MSIX_BAR, model.queueSizes.length + 1);
    this.#addCapability(CFG_TYPE.COMMON, BAR_LAYOUT.common, COMMON_CFG.sizeBytes);
    const notifyBytes = model.queueSizes.length * NOTIFY_OFF_MULTIPLIER;
    this.#addCapability(CFG_TYPE.NOTIFY, BAR_LAYOUT.notify, notifyBytes, NOTIFY_OFF_MULTIPLIER);
    this.#addCapability(CFG_TYPE.ISR, BAR_LAYOUT.isr, 1);
    if (model.configBytes > 0) this.#addCapability(CFG_TYPE.DEVICE, BAR_LAYOUT.device, model.configBytes);
    this.#window = this.#addWindow();
    this.reset();
  }

  /** BAR 4. */
  read(offset: number, size: AccessSize): number {
    const at = offset % REGION_BYTES;
    switch (offset - at) {
      case BAR_LAYOUT.common:
        return littleEndian(this.#commonConfig(), at, size);
      case BAR_LAYOUT.isr:
        return at === 0 ? this.#takeIsr() : 0;
      case BAR_LAYOUT.device:
        return littleEndian(this.#deviceConfig(), at, size);
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const at = offset % REGION_BYTES;
    switch (offset - at) {
      case BAR_LAYOUT.common:
        this.#writeCommon(at, size, value);
        break;
      case BAR_LAYOUT.notify:
        this.#notified(Math.floor(at / NOTIFY_OFF_MULTIPLIER));
        break;
      case BAR_LAYOUT.device:
        if (at + size <= this.#model.configBytes) this.#model.writeConfig?.(at, size, value);
        break;
      default:
        break;
    }
  }

  reset(): void {
    this.pci.reset();
    this.#reset("system");
  }

  resume(): void {
    this.#model.resume?.();
  }

  save(): StateValue {
    return {
      pci: this.pci.save(),
      status: this.#status,
      accepted: this.#accepted,
      deviceFeatureSelect: this.#deviceFeatureSelect,
      driverFeatureSelect: this.#driverFeatureSelect,
      queueSelect: this.#queueSelect,
      configVector: this.#configVector,
      configGeneration: this.#configGeneration,
      isr: this.#isr,
      vectors: [...this.#vectors],
      queues: this.#queues.map((queue) => queue.save()),
      device: this.#model.save(),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    try {
      this.#restore(new StateReader(state, this.name));
    } catch (error) {
      this.reset();
      throw error;
    }
  }

  #restore(reader: StateReader): void {
    this.pci.restore(reader.part("pci"), `${reader.path}.pci`);
    this.#status = reader.u8("status");
    this.#accepted = reader.u64("accepted");
    this.#deviceFeatureSelect = reader.u32("deviceFeatureSelect");
    this.#driverFeatureSelect = reader.u32("driverFeatureSelect");
    this.#queueSelect = reader.u16("queueSelect");
    this.#configVector = reader.u16("configVector");
    this.#configGeneration = reader.u8("configGeneration");
    this.#isr = reader.int("isr", 0, ISR.QUEUE | ISR.CONFIG);
    const vectors = reader.ints("vectors", this.#vectors.length, 0, 0xffff);
    for (const [index, vector] of vectors.entries()) {
      if (vector !== this.#validVector(vector)) throw reader.invalid("vectors", `has no vector ${vector}`);
      this.#vectors[index] = vector;
    }
    if (this.#configVector !== this.#validVector(this.#configVector)) {
      throw reader.invalid("configVector", "is not a vector of this device");
    }
    const queues = reader.arrayExact("queues", this.#queues.length);
    for (const [index, queue] of this.#queues.entries()) queue.restore(queues[index]!);
    const device = reader.object("device");
    this.#model.restore(device);
    device.end();
    reader.end();
    if ((this.#status & DEVICE_STATUS.FEATURES_OK) !== 0 && !this.#featuresAcceptable()) {
      throw reader.invalid("accepted", "has features that this device does not offer");
    }
    this.pci.intx.set(this.#isr !== 0);
  }

  #reset(kind: ResetKind): void {
    this.#status = 0;
    this.#accepted = 0n;
    this.#deviceFeatureSelect = 0;
    this.#driverFeatureSelect = 0;
    this.#queueSelect = 0;
    this.#configVector = NO_VECTOR;
    this.#configGeneration = 0;
    this.#isr = 0;
    this.#vectors.fill(NO_VECTOR);
    for (const queue of this.#queues) queue.reset();
    this.#model.reset(kind);
    this.pci.intx.set(false);
  }

  #host(memory: GuestMemory): VirtioHost {
    const device = this;
    return {
      memory,
      get isRunning(): boolean {
        return device.#isRunning;
      },
      queue: (index) => {
        const queue = device.#queues[index];
        if (!queue) throw new RangeError(`${device.name} has no queue ${index}`);
        return queue;
      },
      hasFeature: (bit) => device.#accepts(bit),
      complete: (index) => {
        if (device.#queues[index]?.takeInterrupt()) device.#interrupt(device.#vectors[index]!, ISR.QUEUE);
      },
      configChanged: () => device.#configChanged(),
      fail: () => device.#fail(),
    };
  }

  get #isRunning(): boolean {
    const lived = this.#status & (DEVICE_STATUS.DRIVER_OK | DEVICE_STATUS.DEVICE_NEEDS_RESET);
    return lived === DEVICE_STATUS.DRIVER_OK && this.pci.isBusMaster;
  }

  #notified(queueIndex: number): void {
    if (this.#isRunning && this.#queues[queueIndex]?.isEnabled) this.#model.notified(queueIndex);
  }

  #configChanged(): void {
    this.#configGeneration = (this.#configGeneration + 1) & 0xff;
    if ((this.#status & DEVICE_STATUS.DRIVER_OK) !== 0) this.#interrupt(this.#configVector, ISR.CONFIG);
  }

  #fail(): void {
    if ((this.#status & DEVICE_STATUS.DEVICE_NEEDS_RESET) !== 0) return;
    this.#status |= DEVICE_STATUS.DEVICE_NEEDS_RESET;
    this.#configChanged();
  }

  #interrupt(vector: number, cause: number): void {
    if (this.#msix.enabled) {
      this.#msix.notify(vector);
      return;
    }
    this.#isr |= cause;
    this.pci.intx.set(true);
  }

  #takeIsr(): number {
    const isr = this.#isr;
    this.#isr = 0;
    this.pci.intx.set(false);
    return isr;
  }

  #commonConfig(): DataView {
    const view = new DataView(new ArrayBuffer(COMMON_CFG.sizeBytes));
    const queue = this.#queues[this.#queueSelect];
    view.setUint32(COMMON_CFG.device_feature_select, this.#deviceFeatureSelect, true);
    view.setUint32(COMMON_CFG.device_feature, featureWord(this.#offered, this.#deviceFeatureSelect), true);
    view.setUint32(COMMON_CFG.driver_feature_select, this.#driverFeatureSelect, true);
    view.setUint32(COMMON_CFG.driver_feature, featureWord(this.#accepted, this.#driverFeatureSelect), true);
    view.setUint16(COMMON_CFG.config_msix_vector, this.#configVector, true);
    view.setUint16(COMMON_CFG.num_queues, this.#queues.length, true);
    view.setUint8(COMMON_CFG.device_status, this.#status);
    view.setUint8(COMMON_CFG.config_generation, this.#configGeneration);
    view.setUint16(COMMON_CFG.queue_select, this.#queueSelect, true);
    // A queue that does not exist has size 0.
    if (!queue) return view;
    view.setUint16(COMMON_CFG.queue_size, queue.size, true);
    view.setUint16(COMMON_CFG.queue_msix_vector, this.#vectors[this.#queueSelect]!, true);
    view.setUint16(COMMON_CFG.queue_enable, queue.isEnabled ? 1 : 0, true);
    view.setUint16(COMMON_CFG.queue_notify_off, this.#queueSelect, true);
    for (let half = 0; half < 6; half++) {
      view.setUint32(COMMON_CFG.queue_desc + 4 * half, queue.addressHalf(half >> 1, (half & 1) !== 0), true);
    }
    return view;
  }

  #deviceConfig(): DataView {
    const view = new DataView(new ArrayBuffer(this.#model.configBytes));
    this.#model.readConfig(view);
    return view;
  }

  /** Fields are written at their own width, 64-bit ones in halves (4.1.3.1); anything else is ignored. */
  #writeCommon(offset: number, size: AccessSize, value: number): void {
    switch (size * 0x100 + offset) {
      case 0x400 + COMMON_CFG.device_feature_select:
        this.#deviceFeatureSelect = value;
        break;
      case 0x400 + COMMON_CFG.driver_feature_select:
        this.#driverFeatureSelect = value;
        break;
      case 0x400 + COMMON_CFG.driver_feature:
        this.#writeDriverFeature(value);
        break;
      case 0x200 + COMMON_CFG.config_msix_vector:
        this.#configVector = this.#validVector(value);
        break;
      case 0x100 + COMMON_CFG.device_status:
        this.#writeStatus(value);
        break;
      case 0x200 + COMMON_CFG.queue_select:
        this.#queueSelect = value;
        break;
      default:
        this.#writeQueueField(offset, size, value);
    }
  }

  #writeQueueField(offset: number, size: AccessSize, value: number): void {
    const queue = this.#queues[this.#queueSelect];
    if (!queue) return;
    if (size === 2 && offset === COMMON_CFG.queue_size) queue.setSize(value, this.#accepts(VIRTIO_F.RING_PACKED));
    else if (size === 2 && offset === COMMON_CFG.queue_msix_vector) {
      this.#vectors[this.#queueSelect] = this.#validVector(value);
    } else if (size === 2 && offset === COMMON_CFG.queue_enable) {
      if (value === 1 && (this.#status & DEVICE_STATUS.FEATURES_OK) !== 0) this.#enable(queue);
    } else if (size === 4 && offset % 4 === 0 && offset >= COMMON_CFG.queue_desc && offset < COMMON_CFG.sizeBytes) {
      const half = (offset - COMMON_CFG.queue_desc) / 4;
      queue.setAddressHalf(half >> 1, (half & 1) !== 0, value);
    }
  }

  #enable(queue: Virtqueue): void {
    queue.enable({
      eventIndex: this.#accepts(VIRTIO_F.EVENT_IDX),
      indirect: this.#accepts(VIRTIO_F.INDIRECT_DESC),
      packed: this.#accepts(VIRTIO_F.RING_PACKED),
    });
  }

  #accepts(bit: number): boolean {
    return ((this.#accepted >> BigInt(bit)) & 1n) !== 0n;
  }

  /** Features are settled once FEATURES_OK is set. */
  #writeDriverFeature(value: number): void {
    if ((this.#status & DEVICE_STATUS.FEATURES_OK) !== 0 || this.#driverFeatureSelect > 1) return;
    const shift = BigInt(32 * this.#driverFeatureSelect);
    this.#accepted = (this.#accepted & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
  }

  #writeStatus(value: number): void {
    if (value === 0) {
      this.#reset("driver");
      return;
    }
    let set = value & ~DEVICE_STATUS.DEVICE_NEEDS_RESET;
    if (!this.#featuresAcceptable()) set &= ~DEVICE_STATUS.FEATURES_OK;
    if (((this.#status | set) & DEVICE_STATUS.FEATURES_OK) === 0) set &= ~DEVICE_STATUS.DRIVER_OK;
    const starts = (set & ~this.#status & DEVICE_STATUS.DRIVER_OK) !== 0;
    this.#status |= set;
    if (starts) this.#model.start();
  }

  #featuresAcceptable(): boolean {
    return this.#accepts(VIRTIO_F.VERSION_1) && (this.#accepted & ~this.#offered) === 0n;
  }

  /** A vector that does not exist reads back as "none", which tells the driver. */
  #validVector(vector: number): number {
    return vector < this.#msix.vectors ? vector : NO_VECTOR;
  }

  #addCapability(type: number, offset: number, length: number, extra?: number): void {
    const body = new Uint8Array(extra === undefined ? 14 : 18);
    const view = new DataView(body.buffer);
    view.setUint8(0, body.length + 2);
    view.setUint8(1, type);
    view.setUint8(2, VIRTIO_BAR);
    view.setUint32(6, offset, true);
    view.setUint32(10, length, true);
    if (extra !== undefined) view.setUint32(14, extra, true);
    this.pci.addCapability(CAPABILITY_ID.VENDOR_SPECIFIC, body);
  }

  /** The capability through which a BAR is reachable in configuration space (4.1.4.9). */
  #addWindow(): Capability {
    const body = new Uint8Array(PCI_CFG.sizeBytes);
    body[0] = body.length + 2;
    body[1] = CFG_TYPE.PCI;
    const writable = new Uint8Array(PCI_CFG.sizeBytes);
    writable[PCI_CFG.bar] = 0xff;
    writable.fill(0xff, PCI_CFG.offset);
    const touchesData = (offset: number, size: number): boolean => offset + size > PCI_CFG.data;
    return this.pci.addCapability(CAPABILITY_ID.VENDOR_SPECIFIC, body, {
      writable,
      beforeRead: (offset, size) => {
        const target = touchesData(offset, size) ? this.#windowTarget() : undefined;
        if (target) this.#windowView().setUint32(PCI_CFG.data, this.read(target.offset, target.size), true);
      },
      afterWrite: (offset, size) => {
        const target = touchesData(offset, size) ? this.#windowTarget() : undefined;
        if (!target) return;
        const value = this.#windowView().getUint32(PCI_CFG.data, true);
        this.write(target.offset, target.size, target.size === 4 ? value : value & (2 ** (8 * target.size) - 1));
      },
    });
  }

  #windowTarget(): { offset: number; size: AccessSize } | undefined {
    const view = this.#windowView();
    const offset = view.getUint32(PCI_CFG.offset, true);
    const size = view.getUint32(PCI_CFG.length, true);
    if (view.getUint8(PCI_CFG.bar) !== VIRTIO_BAR || (size !== 1 && size !== 2 && size !== 4)) return undefined;
    return offset % size === 0 && offset + size <= BAR_LAYOUT.sizeBytes ? { offset, size } : undefined;
  }

  #windowView(): DataView {
    const { bytes } = this.#window;
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

function featureWord(features: bigint, select: number): number {
  return select > 1 ? 0 : Number((features >> BigInt(32 * select)) & 0xffff_ffffn);
}

/** Bytes past the structure read as zero. */
function littleEndian(view: DataView, offset: number, size: AccessSize): number {
  let value = 0;
  for (let i = 0; i < size; i++) {
    if (offset + i < view.byteLength) value |= view.getUint8(offset + i) << (8 * i);
  }
  return value >>> 0;
}
