/**
 * Virtio console with several named ports (virtio 1.2, 5.3): consoles (hvc in Linux) and plain channels
 * (/dev/virtio-ports/NAME), each with a receive and a transmit queue, and one pair of control queues.
 *
 * Bytes of the guest leave at once on the port's channel. Bytes to the guest wait in a bounded window in the port until
 * the guest has opened it and given buffers; "NAME.ctl" carries opening, closing, sizes and credit (console-control.ts).
 * A driver without MULTIPORT sees port 0 only, always open. Reset by the driver keeps what the outside has sent; reset
 * of the system drops it. Left out: EMERG_WRITE, ports that come and go.
 *
 *   queues: 0, 1 port 0 receive and transmit; 2, 3 control receive and transmit; 2 + 2n, 3 + 2n port n
 */
import type { StateReader } from "../../state/reader.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { ByteFifo } from "./byte-fifo.ts";
import {
  CONTROL_BYTES,
  CONTROL_EVENT,
  type ControlMessage,
  decodeControl,
  decodePortCommands,
  encodeControl,
  encodePortReport,
  encodeSize,
  type PortCommand,
  type PortReport,
} from "./console-control.ts";
import { type ResetKind, VIRTIO_ID, type VirtioHost, type VirtioModel } from "./model.ts";
import { VirtioPciDevice } from "./pci-transport.ts";

/** How many bytes to the guest a port holds: a back-end never has more than this on the way. */
export const CONSOLE_WINDOW_BYTES: number = 64 * 1024;

const VIRTIO_CONSOLE_F = { SIZE: 0, MULTIPORT: 1 } as const;
const QUEUE_SIZE = 32;
const CONTROL_RECEIVE = 2;
const CONTROL_TRANSMIT = 3;
const CONFIG_BYTES = 12;
const MAX_PORTS = 31;
const MAX_NAME_BYTES = 64;
/** More in one buffer breaks the device: no driver sends that much at once. */
const MAX_TRANSMIT_BYTES = 1024 * 1024;
/** For each port: ADD, CONSOLE_PORT, PORT_NAME, RESIZE and two PORT_OPEN. */
const MAX_PENDING_PER_PORT = 6;

/** What is ever told to the guest; each at most once at a time. */
const PENDING_VALUES: ReadonlyMap<number, readonly number[]> = new Map([
  [CONTROL_EVENT.DEVICE_ADD, [1]],
  [CONTROL_EVENT.CONSOLE_PORT, [1]],
  [CONTROL_EVENT.RESIZE, [0]],
  [CONTROL_EVENT.PORT_OPEN, [0, 1]],
  [CONTROL_EVENT.PORT_NAME, [1]],
]);

export interface ConsolePortOptions {
  /** As the guest sees it, and the stem of its channels unless `channel` is given. */
  readonly name: string;
  readonly channel?: string;
  /** The guest makes it a console (hvc) and not a plain channel. */
  readonly isConsole?: boolean;
}

export interface VirtioConsoleOptions {
  readonly name: string;
  readonly ports: readonly ConsolePortOptions[];
  readonly columns?: number;
  readonly rows?: number;
}

interface Port {
  readonly index: number;
  readonly name: Uint8Array;
  readonly channel: string;
  readonly isConsole: boolean;
  readonly received: ByteFifo;
  hostOpen: boolean;
  guestOpen: boolean;
  /** The outside takes the guest's bytes. */
  flowing: boolean;
  /** The guest has a driver for this port and wants to know about it. */
  ready: boolean;
  columns: number;
  rows: number;
}

/** What a back-end needs to carry on after a restore. */
export interface ConsolePortStatus {
  readonly hostOpen: boolean;
  readonly guestOpen: boolean;
  readonly windowBytes: number;
}

class VirtioConsole implements VirtioModel {
  readonly id: number = VIRTIO_ID.CONSOLE;
  readonly schema = { id: "virtio-console", version: 1 } as const;
  /** A communication controller of no other kind. */
  readonly classCode = 0x07_80_00;
  readonly features: bigint = (1n << BigInt(VIRTIO_CONSOLE_F.SIZE)) | (1n << BigInt(VIRTIO_CONSOLE_F.MULTIPORT));
  readonly queueSizes: readonly number[];
  readonly configBytes: number = CONFIG_BYTES;
  readonly #context: DeviceContext;
  readonly #host: VirtioHost;
  readonly #options: VirtioConsoleOptions;
  readonly #ports: readonly Port[];
  /** Messages to the guest that wait for control buffers. */
  #pending: ControlMessage[] = [];

  constructor(context: DeviceContext, host: VirtioHost, options: VirtioConsoleOptions) {
    if (options.ports.length < 1 || options.ports.length > MAX_PORTS) {
      throw new RangeError(`a console of ${options.ports.length} ports; 1 to ${MAX_PORTS} are possible`);
    }
    this.#context = context;
    this.#host = host;
    this.#options = options;
    this.queueSizes = new Array<number>(2 * (options.ports.length + 1)).fill(QUEUE_SIZE);
    this.#ports = options.ports.map((port, index) => this.#createPort(port, index));
    for (const port of this.#ports) {
      context.onInput(port.channel, (bytes) => this.#receive(port, bytes));
      context.onInput(`${port.channel}.ctl`, (bytes) => {
        for (const command of decodePortCommands(bytes)) this.#command(port, command);
      });
    }
  }

  readConfig(config: DataView): void {
    const first = this.#ports[0]!;
    config.setUint16(0, first.columns, true);
    config.setUint16(2, first.rows, true);
    config.setUint32(4, this.#ports.length, true);
  }

  start(): void {
    if (this.#isMultiport) return;
    const first = this.#ports[0]!;
    this.#setGuestOpen(first, true);
    this.#transmit(first);
  }

  notified(queueIndex: number): void {
    if (queueIndex === CONTROL_RECEIVE) this.#sendControl();
    else if (queueIndex === CONTROL_TRANSMIT) this.#takeControl();
    else {
      const port = this.#ports[queueIndex < CONTROL_RECEIVE ? 0 : (queueIndex - 2) >> 1];
      if (!port) return;
      if (queueIndex % 2 === 0) this.#deliver(port);
      else this.#transmit(port);
    }
  }

  reset(kind: ResetKind): void {
    this.#pending = [];
    for (const port of this.#ports) {
      port.ready = false;
      this.#setGuestOpen(port, false);
      if (kind === "system") this.#discard(port);
    }
  }

  /** What only a power cycle of the outside's end resets. */
  disconnect(): void {
    for (const port of this.#ports) {
      port.hostOpen = false;
      port.flowing = true;
      port.columns = this.#options.columns ?? 80;
      port.rows = this.#options.rows ?? 24;
    }
  }

  status(portIndex: number): ConsolePortStatus | undefined {
    const port = this.#ports[portIndex];
    if (!port) return undefined;
    const windowBytes = CONSOLE_WINDOW_BYTES - port.received.length;
    return { hostOpen: port.hostOpen, guestOpen: port.guestOpen, windowBytes };
  }

  save(): StateValue {
    return {
      pending: this.#pending.flatMap(({ port, event, value }) => [port, event, value]),
      ports: this.#ports.map((port) => ({
        hostOpen: port.hostOpen,
        guestOpen: port.guestOpen,
        flowing: port.flowing,
        ready: port.ready,
        columns: port.columns,
        rows: port.rows,
        received: port.received.peek(CONSOLE_WINDOW_BYTES),
      })),
    };
  }

  restore(reader: StateReader): void {
    const pending = reader.values("pending", 3 * MAX_PENDING_PER_PORT * this.#ports.length);
    const numbers = reader.ints("pending", pending.length, 0, 0xffff);
    if (numbers.length % 3 !== 0) throw reader.invalid("pending", "ends within a message");
    const messages: ControlMessage[] = [];
    for (let i = 0; i < numbers.length; i += 3) {
      const message = { port: numbers[i]!, event: numbers[i + 1]!, value: numbers[i + 2]! };
      if (message.port >= this.#ports.length) throw reader.invalid("pending", "names a port that does not exist");
      const isTwice = messages.some(({ port, event, value }) => {
        return port === message.port && event === message.event && value === message.value;
      });
      if (isTwice || !PENDING_VALUES.get(message.event)?.includes(message.value))
        throw reader.invalid("pending", "has a message that never waits there");
      messages.push(message);
    }
    const states = reader.arrayExact("ports", this.#ports.length);
    for (const [index, port] of this.#ports.entries()) {
      const state = states[index]!;
      port.hostOpen = state.bool("hostOpen");
      port.guestOpen = state.bool("guestOpen");
      port.flowing = state.bool("flowing");
      port.ready = state.bool("ready");
      port.columns = state.u16("columns");
      port.rows = state.u16("rows");
      port.received.clear();
      port.received.push(state.bytes("received", CONSOLE_WINDOW_BYTES));
      state.end();
    }
    this.#pending = messages;
  }

  get #isMultiport(): boolean {
    return this.#host.hasFeature(VIRTIO_CONSOLE_F.MULTIPORT);
  }

  #createPort(options: ConsolePortOptions, index: number): Port {
    const name = new TextEncoder().encode(options.name);
    if (name.length === 0 || name.length > MAX_NAME_BYTES) {
      throw new RangeError(`the port name "${options.name}" is empty or longer than ${MAX_NAME_BYTES} bytes`);
    }
    return {
      index,
      name,
      channel: options.channel ?? options.name,
      isConsole: options.isConsole ?? false,
      received: new ByteFifo(CONSOLE_WINDOW_BYTES),
      hostOpen: false,
      guestOpen: false,
      flowing: true,
      ready: false,
      columns: this.#options.columns ?? 80,
      rows: this.#options.rows ?? 24,
    };
  }

  #report(port: Port, report: PortReport): void {
    this.#context.output(`${port.channel}.ctl`, encodePortReport(report));
  }

  #setGuestOpen(port: Port, open: boolean): void {
    if (port.guestOpen === open) return;
    port.guestOpen = open;
    this.#report(port, { kind: open ? "guest-open" : "guest-close" });
    if (open) this.#deliver(port);
  }

  #receive(port: Port, bytes: Uint8Array): void {
    const accepted = port.received.push(bytes);
    if (accepted < bytes.length) this.#report(port, { kind: "dropped", bytes: bytes.length - accepted });
    this.#deliver(port);
  }

  #command(port: Port, command: PortCommand): void {
    switch (command.kind) {
      case "resize":
        this.#resize(port, command.columns, command.rows);
        break;
      case "open":
      case "close":
        if (port.hostOpen === (command.kind === "open")) return;
        port.hostOpen = !port.hostOpen;
        this.#announce(port, CONTROL_EVENT.PORT_OPEN);
        break;
      case "discard":
        this.#discard(port);
        break;
      case "stop":
        port.flowing = false;
        break;
      case "go":
        port.flowing = true;
        this.#transmit(port);
        break;
    }
  }

  #resize(port: Port, columns: number, rows: number): void {
    if (port.columns === columns && port.rows === rows) return;
    port.columns = columns;
    port.rows = rows;
    if (this.#isMultiport) this.#announce(port, CONTROL_EVENT.RESIZE);
    else if (port.index === 0) this.#host.configChanged();
  }

  #discard(port: Port): void {
    const bytes = port.received.length;
    port.received.clear();
    if (bytes > 0) this.#report(port, { kind: "credit", bytes });
  }

  /** Moves waiting bytes into the guest's buffers. */
  #deliver(port: Port): void {
    if (!port.guestOpen || port.received.length === 0 || !this.#host.isRunning) return;
    const queueIndex = receiveQueue(port);
    const queue = this.#host.queue(queueIndex);
    let freedBytes = 0;
    while (port.received.length > 0) {
      const chain = queue.pop();
      if (!chain) break;
      const bytes = port.received.take(chain.writableBytes);
      freedBytes += bytes.length;
      if (!chain.write(0, bytes)) {
        this.#host.fail("a receive buffer is not in RAM");
        break;
      }
      queue.push(chain, bytes.length);
    }
    this.#host.complete(queueIndex);
    if (freedBytes > 0) this.#report(port, { kind: "credit", bytes: freedBytes });
  }

  #transmit(port: Port): void {
    if (!port.flowing || !this.#host.isRunning || (port.index > 0 && !this.#isMultiport)) return;
    const queueIndex = receiveQueue(port) + 1;
    const queue = this.#host.queue(queueIndex);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (chain.readableBytes > MAX_TRANSMIT_BYTES) {
        this.#host.fail("a transmit buffer is larger than any driver's");
        return;
      }
      const bytes = new Uint8Array(chain.readableBytes);
      if (!chain.read(0, bytes)) {
        this.#host.fail("a transmit buffer is not in RAM");
        return;
      }
      if (bytes.length > 0) this.#context.output(port.channel, bytes);
      queue.push(chain, 0);
    }
    this.#host.complete(queueIndex);
  }

  #takeControl(): void {
    if (!this.#isMultiport) return;
    const queue = this.#host.queue(CONTROL_TRANSMIT);
    const bytes = new Uint8Array(CONTROL_BYTES);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      // A message that is too short says nothing.
      if (chain.read(0, bytes)) this.#handleControl(decodeControl(bytes));
      queue.push(chain, 0);
    }
    this.#host.complete(CONTROL_TRANSMIT);
    this.#sendControl();
  }

  #handleControl({ port: index, event, value }: ControlMessage): void {
    if (event === CONTROL_EVENT.DEVICE_READY) {
      if (value === 1) for (const port of this.#ports) this.#enqueue(port, CONTROL_EVENT.DEVICE_ADD, 1);
      return;
    }
    const port = this.#ports[index];
    if (!port) return;
    if (event === CONTROL_EVENT.PORT_OPEN) this.#setGuestOpen(port, value !== 0);
    else if (event === CONTROL_EVENT.PORT_READY) {
      port.ready = value === 1;
      if (!port.ready) return;
      if (port.isConsole) {
        this.#enqueue(port, CONTROL_EVENT.CONSOLE_PORT, 1);
        this.#enqueue(port, CONTROL_EVENT.RESIZE, 0);
      }
      this.#enqueue(port, CONTROL_EVENT.PORT_NAME, 1);
      if (port.hostOpen) this.#enqueue(port, CONTROL_EVENT.PORT_OPEN, 1);
    }
  }

  /** Tells the guest about a change, if it has a driver for the port; otherwise PORT_READY will. */
  #announce(port: Port, event: number): void {
    if (!port.ready || (event === CONTROL_EVENT.RESIZE && !port.isConsole)) return;
    this.#enqueue(port, event, event === CONTROL_EVENT.PORT_OPEN && port.hostOpen ? 1 : 0);
    this.#sendControl();
  }

  /**
   * Bounded, although the guest may never give a buffer: a message that waits already is not added again. Opening and
   * closing alternate, so of three that wait the last two cancel out.
   */
  #enqueue(port: Port, event: number, value: number): void {
    const waiting = this.#pending.filter((message) => message.port === port.index && message.event === event);
    const last = waiting.at(-1);
    if (last?.value === value) return;
    if (waiting.length >= 2) this.#pending.splice(this.#pending.indexOf(last!), 1);
    else this.#pending.push({ port: port.index, event, value });
  }

  #sendControl(): void {
    if (this.#pending.length === 0 || !this.#host.isRunning) return;
    const queue = this.#host.queue(CONTROL_RECEIVE);
    while (this.#pending.length > 0) {
      const chain = queue.pop();
      if (!chain) break;
      const message = this.#pending.shift()!;
      const bytes = this.#encode(message).subarray(0, chain.writableBytes);
      if (!chain.write(0, bytes)) {
        this.#host.fail("a control buffer is not in RAM");
        break;
      }
      queue.push(chain, bytes.length);
    }
    this.#host.complete(CONTROL_RECEIVE);
  }

  #encode(message: ControlMessage): Uint8Array {
    const port = this.#ports[message.port]!;
    if (message.event === CONTROL_EVENT.PORT_NAME) return encodeControl(message, port.name);
    if (message.event === CONTROL_EVENT.RESIZE) return encodeControl(message, encodeSize(port.columns, port.rows));
    return encodeControl(message);
  }
}

function receiveQueue(port: Port): number {
  return port.index === 0 ? 0 : 2 + 2 * port.index;
}

export class VirtioConsoleDevice extends VirtioPciDevice {
  readonly #console: VirtioConsole;

  constructor(context: DeviceContext, options: VirtioConsoleOptions) {
    let model: VirtioConsole | undefined;
    super(context, options.name, (host) => {
      model = new VirtioConsole(context, host, options);
      return model;
    });
    this.#console = model!;
  }

  /** Ports count in the order of the options. */
  portStatus(index: number): ConsolePortStatus | undefined {
    return this.#console.status(index);
  }

  override restore(state: StateValue): void {
    try {
      super.restore(state);
    } catch (error) {
      this.#console.disconnect();
      throw error;
    }
  }
}

export function createVirtioConsole(context: DeviceContext, options: VirtioConsoleOptions): VirtioConsoleDevice {
  return new VirtioConsoleDevice(context, options);
}
