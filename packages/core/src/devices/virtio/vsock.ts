/**
 * Virtio socket device (virtio 1.2, 5.10): streams between programs of the guest and of the host without a network. The device
 * carries packets; who has the host's end keeps the connections, their credit included, on the channel of the device's name
 * (vsock-packet.ts). Packets to the guest wait here, in a bounded window, for its buffers, and are cut where those are smaller.
 *
 *   queues: 0 to the guest, 1 from the guest, 2 events (the transport's reset)
 *
 * The guest's packets pass where they come from its own address, go to the host's, and are as long as they say; others are
 * dropped. Left out: SEQPACKET, datagrams, other guests as peers.
 */
import type { StateReader } from "../../state/reader.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import { type ResetKind, VIRTIO_ID, type VirtioHost, type VirtioModel } from "./model.ts";
import { VirtioPciDevice } from "./pci-transport.ts";
import {
  decodeVsockHeader,
  decodeVsockInput,
  encodeCredit,
  encodeDriverReset,
  encodePacketMessage,
  MAX_VSOCK_DATA_BYTES,
  VSOCK_HEADER_BYTES,
  VSOCK_HOST_CID,
  VSOCK_WINDOW_BYTES,
} from "./vsock-packet.ts";

const RECEIVE = 0;
const TRANSMIT = 1;
const EVENT = 2;
const QUEUE_SIZE = 128;
const EVENT_BYTES = 4;
const EVENT_TRANSPORT_RESET = 0;
const LENGTH_AT = 24;

export interface VirtioVsockOptions {
  /** Of the device, and of its channel. */
  readonly name: string;
  readonly guestCid: number;
}

class VirtioVsock implements VirtioModel {
  readonly id: number = VIRTIO_ID.SOCKET;
  readonly schema = { id: "virtio-vsock", version: 1 } as const;
  /** A communication controller of no other kind. */
  readonly classCode = 0x07_80_00;
  readonly features = 0n;
  readonly queueSizes: readonly number[] = [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE];
  readonly configBytes = 8;
  readonly #context: DeviceContext;
  readonly #host: VirtioHost;
  readonly #options: VirtioVsockOptions;
  /** To the guest, whole packets. */
  #waiting: Uint8Array[] = [];
  /** Data of the first one that the guest has. */
  #firstTaken = 0;
  #waitingBytes = 0;
  /** The guest is still to be told that its connections are gone. */
  #owesReset = false;
  /** The driver has sent something, or was sent something: there may be connections. */
  #hasTraffic = false;

  constructor(context: DeviceContext, host: VirtioHost, options: VirtioVsockOptions) {
    this.#context = context;
    this.#host = host;
    this.#options = options;
    context.onInput(options.name, (bytes) => this.#input(bytes));
  }

  readConfig(config: DataView): void {
    config.setUint32(0, this.#options.guestCid, true);
  }

  start(): void {
    if (!this.#host.isRunning) return;
    this.#transmit();
    this.#deliver();
  }

  notified(queueIndex: number): void {
    if (queueIndex === TRANSMIT) this.#transmit();
    else if (queueIndex === RECEIVE) this.#deliver();
    else this.#tellReset();
  }

  reset(_kind: ResetKind): void {
    this.#drop();
    this.#owesReset = false;
    if (this.#hasTraffic) this.#context.output(this.#options.name, encodeDriverReset());
    this.#hasTraffic = false;
  }

  save(): StateValue {
    const [first, ...others] = this.#waiting;
    const waiting = first ? [packetOf(first, this.#firstTaken), ...others] : [];
    return { waiting, owesReset: this.#owesReset, hasTraffic: this.#hasTraffic };
  }

  restore(reader: StateReader): void {
    const waiting = reader.values("waiting", Math.floor(VSOCK_WINDOW_BYTES / VSOCK_HEADER_BYTES));
    let bytes = 0;
    this.#waiting = waiting.map((packet) => {
      const length = packet instanceof Uint8Array ? packet.length : 0;
      bytes += length;
      const isSound = packet instanceof Uint8Array && length >= VSOCK_HEADER_BYTES;
      if (!isSound || decodeVsockHeader(packet).length !== length - VSOCK_HEADER_BYTES || bytes > VSOCK_WINDOW_BYTES)
        throw reader.invalid("waiting", "is no list of packets that fit the window");
      return packet.slice();
    });
    this.#waitingBytes = bytes;
    this.#firstTaken = 0;
    this.#owesReset = reader.bool("owesReset");
    this.#hasTraffic = reader.bool("hasTraffic");
  }

  #input(bytes: Uint8Array): void {
    const packet = decodeVsockInput(bytes);
    if (packet === undefined) return;
    if (packet === "reset") {
      this.#drop();
      this.#owesReset = true;
      if (this.#host.isRunning) this.#tellReset();
      return;
    }
    if (this.#waitingBytes + packet.length > VSOCK_WINDOW_BYTES) return;
    this.#hasTraffic = true;
    this.#waiting.push(packet.slice());
    this.#waitingBytes += packet.length;
    this.#deliver();
  }

  #drop(): void {
    if (this.#waitingBytes > 0) this.#context.output(this.#options.name, encodeCredit(this.#waitingBytes));
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#firstTaken = 0;
  }

  #tellReset(): void {
    if (!this.#owesReset) return;
    const queue = this.#host.queue(EVENT);
    const chain = queue.pop();
    if (!chain) return;
    this.#owesReset = false;
    if (!chain.write(0, Uint8Array.of(EVENT_TRANSPORT_RESET, 0, 0, 0))) {
      this.#host.fail("a buffer for events is not in RAM");
      return;
    }
    queue.push(chain, EVENT_BYTES);
    this.#host.complete(EVENT);
  }

  #deliver(): void {
    if (this.#waiting.length === 0 || !this.#host.isRunning) return;
    const queue = this.#host.queue(RECEIVE);
    let freedBytes = 0;
    while (this.#waiting.length > 0) {
      const chain = queue.pop();
      if (!chain) break;
      const taken = this.#put(chain);
      if (taken < 0) break;
      freedBytes += taken;
    }
    this.#waitingBytes -= freedBytes;
    this.#host.complete(RECEIVE);
    if (freedBytes > 0) this.#context.output(this.#options.name, encodeCredit(freedBytes));
  }

  /** As much of the first packet as the chain holds. Returns what is done with it, or -1 where the chain is none. */
  #put(chain: DescriptorChain): number {
    const packet = this.#waiting[0]!;
    const room = chain.writableBytes - VSOCK_HEADER_BYTES;
    const dataBytes = packet.length - VSOCK_HEADER_BYTES - this.#firstTaken;
    if (room < Math.min(1, dataBytes)) {
      this.#host.fail("a receive buffer holds no packet");
      return -1;
    }
    const taken = Math.min(room, dataBytes);
    const piece = packetOf(packet, this.#firstTaken, taken);
    if (!chain.write(0, piece)) {
      this.#host.fail("a receive buffer is not in RAM");
      return -1;
    }
    this.#host.queue(RECEIVE).push(chain, piece.length);
    if (taken < dataBytes) {
      this.#firstTaken += taken;
      return taken;
    }
    this.#waiting.shift();
    this.#firstTaken = 0;
    return piece.length;
  }

  #transmit(): void {
    const queue = this.#host.queue(TRANSMIT);
    const header = new Uint8Array(VSOCK_HEADER_BYTES);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (chain.read(0, header)) this.#forward(chain, header);
      queue.push(chain, 0);
    }
    this.#host.complete(TRANSMIT);
  }

  #forward(chain: DescriptorChain, bytes: Uint8Array): void {
    const { srcCid, dstCid, length } = decodeVsockHeader(bytes);
    const isMine = srcCid === this.#options.guestCid && dstCid === VSOCK_HOST_CID;
    if (!isMine || length > MAX_VSOCK_DATA_BYTES) return;
    const packet = new Uint8Array(VSOCK_HEADER_BYTES + length);
    if (!chain.read(0, packet)) return;
    this.#hasTraffic = true;
    this.#context.output(this.#options.name, encodePacketMessage(packet));
  }
}

/** A packet of some of another's data: `length` bytes, or all, from `skip` on. */
function packetOf(
  packet: Uint8Array,
  skip: number,
  length: number = packet.length - VSOCK_HEADER_BYTES - skip,
): Uint8Array {
  const piece = new Uint8Array(VSOCK_HEADER_BYTES + length);
  piece.set(packet.subarray(0, VSOCK_HEADER_BYTES));
  const data = VSOCK_HEADER_BYTES + skip;
  piece.set(packet.subarray(data, data + length), VSOCK_HEADER_BYTES);
  new DataView(piece.buffer).setUint32(LENGTH_AT, length, true);
  return piece;
}

export function createVirtioVsock(context: DeviceContext, options: VirtioVsockOptions): VirtioPciDevice {
  return new VirtioPciDevice(context, options.name, (host) => new VirtioVsock(context, host, options));
}
