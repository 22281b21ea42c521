/**
 * Virtio network card (virtio 1.2, 5.1) in front of a network channel (network-channel.ts): one pair of queues and the
 * control queue, checksums, TCP segmentation, mergeable receive buffers, filtering, state of the link, MTU.
 *
 *   guest --chain--> header + frame --net-frame.ts--> complete frames --> channel
 *   channel --> one frame that waits for buffers --> header + frame in one or, merged, several chains --> guest
 *
 * While a received frame waits, the chains that it has already taken stay in flight in the ring; the next frame waits
 * outside. Left out: several pairs of queues, VLAN filtering, hash reports, announcing
 * after a change of host, and the legacy interface.
 *
 *   queues: 0 receive, 1 transmit, 2 control
 */
import type { StateReader } from "../../state/reader.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { ReceiveFilter } from "../network/receive-filter.ts";
import { ETHERNET_HEADER_BYTES, MAC_BYTES, NETWORK_LIMITS, type NetworkChannel } from "../network-channel.ts";
import { romFor } from "../option-rom.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import { VIRTIO_ID, type VirtioHost, type VirtioModel } from "./model.ts";
import { CONTROL_ACK, carryOut } from "./net-control.ts";
import { NET_HEADER, receiveHeader, transmit } from "./net-frame.ts";
import { VirtioPciDevice } from "./pci-transport.ts";

export const VIRTIO_NET_F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_RX_EXTRA: 20,
  CTRL_MAC_ADDR: 23,
} as const;

export const NET_QUEUE = { RECEIVE: 0, TRANSMIT: 1, CONTROL: 2 } as const;
const QUEUE_SIZES = [256, 256, 64] as const;
const CONFIG = { mac: 0, status: 6, max_virtqueue_pairs: 8, mtu: 10, sizeBytes: 12 } as const;
const STATUS_LINK_UP = 1;
/** A VLAN tag is not counted in the MTU. */
const TAG_BYTES = 4;
/** The largest that a driver hands over for segmentation. */
const MAX_TRANSMIT_BYTES = NET_HEADER.sizeBytes + ETHERNET_HEADER_BYTES + TAG_BYTES + 65_535;

export interface VirtioNetOptions {
  /** Of the device, and of its channel. */
  readonly name: string;
  /** Of the card: MAC_BYTES. */
  readonly mac: Uint8Array;
  readonly mtu: number;
  /** What firmware starts from it with. */
  readonly rom?: Uint8Array | undefined;
}

class VirtioNet implements VirtioModel {
  readonly id: number = VIRTIO_ID.NETWORK;
  readonly schema = { id: "virtio-net", version: 1 } as const;
  /** An Ethernet controller. */
  readonly classCode = 0x02_00_00;
  readonly features: bigint = Object.values(VIRTIO_NET_F).reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);
  readonly queueSizes: readonly number[] = QUEUE_SIZES;
  readonly configBytes: number = CONFIG.sizeBytes;
  readonly #host: VirtioHost;
  readonly #options: VirtioNetOptions;
  readonly #channel: NetworkChannel;
  readonly #filter = new ReceiveFilter();
  readonly #mac: Uint8Array;
  #isUp = true;
  /** Received, and waits for the guest's buffers. */
  #waiting: Uint8Array | undefined;
  /** Of a large TCP segment that waits: the size of its pieces; else 0. */
  #segmentBytes = 0;
  #hasToldLarge = false;

  constructor(context: DeviceContext, host: VirtioHost, options: VirtioNetOptions) {
    const { name, mac, mtu } = options;
    if (mac.length !== MAC_BYTES) throw new RangeError(`a network address of ${mac.length} bytes`);
    if (!(mtu >= NETWORK_LIMITS.minMtu && mtu <= NETWORK_LIMITS.maxMtu)) throw new RangeError(`an MTU of ${mtu}`);
    this.#host = host;
    this.#options = options;
    this.#mac = mac.slice();
    const card = this;
    this.#channel = context.openNetwork(name, {
      get isReady() {
        return card.#waiting === undefined;
      },
      receive: (frame, segmentBytes) => this.#receive(frame, segmentBytes),
      linkChanged: (isUp) => this.#setLink(isUp),
    });
  }

  readConfig(config: DataView): void {
    for (const [i, byte] of this.#mac.entries()) config.setUint8(CONFIG.mac + i, byte);
    config.setUint16(CONFIG.status, this.#isUp ? STATUS_LINK_UP : 0, true);
    config.setUint16(CONFIG.max_virtqueue_pairs, 1, true);
    config.setUint16(CONFIG.mtu, this.#options.mtu, true);
  }

  start(): void {
    this.#tellOffloads();
    if (!this.#host.isRunning) return;
    this.#transmit();
    this.#control();
  }

  notified(queueIndex: number): void {
    if (queueIndex === NET_QUEUE.RECEIVE) this.#deliver();
    else if (queueIndex === NET_QUEUE.TRANSMIT) this.#transmit();
    else this.#control();
  }

  resume(): void {
    this.#tellOffloads();
    this.#deliver();
  }

  /** The cable is the outside's. */
  reset(): void {
    this.#filter.reset();
    this.#mac.set(this.#options.mac);
    this.#waiting = undefined;
    this.#segmentBytes = 0;
    this.#tellOffloads(false);
  }

  get #takesLarge(): boolean {
    const { GUEST_TSO4, GUEST_TSO6 } = VIRTIO_NET_F;
    return this.#host.isRunning && this.#host.hasFeature(GUEST_TSO4) && this.#host.hasFeature(GUEST_TSO6);
  }

  #tellOffloads(takesLarge = this.#takesLarge): void {
    if (takesLarge === this.#hasToldLarge) return;
    this.#hasToldLarge = takesLarge;
    this.#channel.setTakesLarge(takesLarge);
  }

  /** As a new card, whose cable is in. */
  plugIn(): void {
    this.#isUp = true;
  }

  save(): StateValue {
    return {
      mac: this.#mac.slice(),
      isUp: this.#isUp,
      waiting: this.#waiting ?? null,
      segmentBytes: this.#segmentBytes,
      filter: this.#filter.save(),
    };
  }

  restore(reader: StateReader): void {
    const mac = reader.bytesExact("mac", MAC_BYTES);
    if ((mac[0]! & 1) !== 0) throw reader.invalid("mac", "is a group's address");
    this.#mac.set(mac);
    this.#isUp = reader.bool("isUp");
    this.#waiting = reader.part("waiting") === null ? undefined : reader.bytes("waiting", NETWORK_LIMITS.frameBytes);
    this.#segmentBytes = reader.int("segmentBytes", 0, NETWORK_LIMITS.frameBytes);
    if ((this.#waiting?.length ?? 0) > this.#mostBytes(this.#segmentBytes > 0)) {
      throw reader.invalid("waiting", "is larger than the wire takes");
    }
    if (this.#waiting && this.#waiting.length < ETHERNET_HEADER_BYTES) throw reader.invalid("waiting", "is no frame");
    this.#filter.restore(reader.object("filter"));
  }

  /** Of a frame. `isLarge`: one that is not cut to the MTU. */
  #mostBytes(isLarge: boolean): number {
    return isLarge ? NETWORK_LIMITS.frameBytes : ETHERNET_HEADER_BYTES + TAG_BYTES + this.#options.mtu;
  }

  #setLink(isUp: boolean): void {
    if (this.#isUp === isUp) return;
    this.#isUp = isUp;
    this.#host.configChanged();
  }

  #receive(frame: Uint8Array, segmentBytes: number): void {
    if (this.#waiting || !this.#isUp || !this.#host.isRunning) return;
    if (segmentBytes > 0 && !this.#takesLarge) return;
    if (frame.length < ETHERNET_HEADER_BYTES || frame.length > this.#mostBytes(segmentBytes > 0)) return;
    if (!this.#host.queue(NET_QUEUE.RECEIVE).isEnabled || !this.#filter.accepts(frame, this.#mac)) return;
    this.#waiting = frame;
    this.#segmentBytes = segmentBytes;
    this.#deliver();
    // The bytes are valid during the call only.
    if (this.#waiting) this.#waiting = frame.slice();
  }

  /** Into the guest's buffers, once there are enough. */
  #deliver(): void {
    const frame = this.#waiting;
    if (!frame || !this.#host.isRunning) return;
    const queue = this.#host.queue(NET_QUEUE.RECEIVE);
    const isMerged = this.#host.hasFeature(VIRTIO_NET_F.MRG_RXBUF);
    const wanted = NET_HEADER.sizeBytes + frame.length;
    const chains = queue.reclaim();
    let room = chains.reduce((sum, chain) => sum + chain.writableBytes, 0);
    while (room < wanted && (isMerged || chains.length === 0)) {
      const chain = queue.pop();
      if (!chain) return;
      room += chain.writableBytes;
      chains.push(chain);
    }
    if (room < wanted) this.#host.fail("a receive buffer is smaller than a frame");
    else if (this.#fill(chains, frame)) {
      this.#waiting = undefined;
      this.#segmentBytes = 0;
    }
    this.#host.complete(NET_QUEUE.RECEIVE);
  }

  #fill(chains: readonly DescriptorChain[], frame: Uint8Array): boolean {
    const knowsChecksums = this.#host.hasFeature(VIRTIO_NET_F.GUEST_CSUM);
    const header = receiveHeader(frame, this.#segmentBytes, chains.length, knowsChecksums);
    const bytes = new Uint8Array(header.length + frame.length);
    bytes.set(header);
    bytes.set(frame, header.length);
    const queue = this.#host.queue(NET_QUEUE.RECEIVE);
    let at = 0;
    for (const chain of chains) {
      const part = bytes.subarray(at, at + chain.writableBytes);
      if (!chain.write(0, part)) {
        this.#host.fail("a receive buffer is not in RAM");
        return false;
      }
      queue.push(chain, part.length);
      at += part.length;
    }
    return true;
  }

  #transmit(): void {
    const queue = this.#host.queue(NET_QUEUE.TRANSMIT);
    const offloads = {
      checksum: this.#host.hasFeature(VIRTIO_NET_F.CSUM),
      tcp4: this.#host.hasFeature(VIRTIO_NET_F.HOST_TSO4),
      tcp6: this.#host.hasFeature(VIRTIO_NET_F.HOST_TSO6),
      areOutside: this.#channel.takesOffloads,
    };
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const { readableBytes } = chain;
      if (readableBytes < NET_HEADER.sizeBytes + ETHERNET_HEADER_BYTES || readableBytes > MAX_TRANSMIT_BYTES) {
        this.#host.fail("a transmit buffer holds no frame");
        return;
      }
      const bytes = new Uint8Array(readableBytes);
      if (!chain.read(0, bytes)) {
        this.#host.fail("a transmit buffer is not in RAM");
        return;
      }
      const header = new DataView(bytes.buffer, 0, NET_HEADER.sizeBytes);
      const frame = bytes.subarray(NET_HEADER.sizeBytes);
      transmit(header, frame, offloads, (sent, isOffloaded) => this.#send(sent, isOffloaded));
      queue.push(chain, 0);
    }
    this.#host.complete(NET_QUEUE.TRANSMIT);
  }

  #send(frame: Uint8Array, isOffloaded: boolean): void {
    if (this.#isUp && frame.length <= this.#mostBytes(isOffloaded)) this.#channel.send(frame, isOffloaded);
  }

  #control(): void {
    if (!this.#host.hasFeature(VIRTIO_NET_F.CTRL_VQ)) return;
    const queue = this.#host.queue(NET_QUEUE.CONTROL);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const isDone = carryOut(chain, this.#filter, this.#mac);
      if (!chain.write(0, Uint8Array.of(isDone ? CONTROL_ACK.OK : CONTROL_ACK.ERR))) {
        this.#host.fail("the byte for a command's answer is not in RAM");
        return;
      }
      queue.push(chain, 1);
    }
    this.#host.complete(NET_QUEUE.CONTROL);
  }
}

class VirtioNetDevice extends VirtioPciDevice {
  readonly #net: VirtioNet;

  constructor(context: DeviceContext, options: VirtioNetOptions) {
    let model: VirtioNet | undefined;
    super(context, options.name, (host) => {
      model = new VirtioNet(context, host, options);
      return model;
    });
    this.#net = model!;
    const { vendorId, deviceId } = this.pci.identity;
    if (options.rom) this.pci.addRom(romFor(options.rom, vendorId, deviceId));
  }

  override restore(state: StateValue): void {
    try {
      super.restore(state);
    } catch (error) {
      this.#net.plugIn();
      throw error;
    }
  }
}

export function createVirtioNet(context: DeviceContext, options: VirtioNetOptions): VirtioPciDevice {
  return new VirtioNetDevice(context, options);
}
