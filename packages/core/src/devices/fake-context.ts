/**
 * A DeviceContext for tests of device models: a clock that moves when told, flat RAM, a seeded random stream, and
 * recordings of everything that leaves the device. Time may jump over deadlines, as it does after a busy host: each
 * due timer then runs once, and a device that keeps arming timers in the past is reported as an interrupt storm.
 */
import type { Clock, Timer } from "../machine/clock.ts";
import type { Gpa, GuestMemory } from "../memory/guest-memory.ts";
import type { BlockChannel, BlockCompletion, BlockRequest } from "./block-channel.ts";
import type { DeviceContext, IrqLine } from "./device.ts";
import { FILE_LIMITS, type FileChannel, type FileCompletion } from "./files/file-channel.ts";
import { decodeRequest, type SentRequest } from "./files/file-requests.ts";
import type { MemoryFolder } from "./files/memory-folder.ts";
import type { NetworkChannel, NetworkPort } from "./network-channel.ts";

const STORM_LIMIT = 1000;
/** 2026-01-02 03:04:05 UTC, a Friday. */
const EPOCH_SECONDS = 1_767_323_045;

export class FakeClock implements Clock {
  epochSeconds: number = EPOCH_SECONDS;
  readonly #timers: FakeTimer[] = [];
  #nowNs: number;

  constructor(nowNs = 0) {
    this.#nowNs = nowNs;
  }

  nowNs(): number {
    return this.#nowNs;
  }

  timer(callback: (deadlineNs: number) => void): Timer {
    const timer = new FakeTimer(callback);
    this.#timers.push(timer);
    return timer;
  }

  /** The earliest deadline of all timers. */
  nextDeadlineNs(): number | undefined {
    return this.#due(Number.POSITIVE_INFINITY)?.deadlineNs;
  }

  /** Moves time on in one step, then runs what is due. Returns how many callbacks ran. */
  jump(ns: number): number {
    this.#nowNs += ns;
    let runs = 0;
    for (let timer = this.#due(this.#nowNs); timer; timer = this.#due(this.#nowNs)) {
      timer.fire();
      if (++runs > STORM_LIMIT) throw new Error("interrupt storm: timers keep being armed in the past");
    }
    return runs;
  }

  /** Moves time on from deadline to deadline, as a machine with time to spare does. Returns how many callbacks ran. */
  advance(ns: number): number {
    const end = this.#nowNs + ns;
    let runs = 0;
    for (let timer = this.#due(end); timer; timer = this.#due(end)) {
      runs += this.jump(Math.max(0, timer.deadlineNs! - this.#nowNs));
    }
    return runs + this.jump(end - this.#nowNs);
  }

  #due(limitNs: number): FakeTimer | undefined {
    let first: FakeTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.deadlineNs === undefined || timer.deadlineNs > limitNs) continue;
      if (!first || timer.deadlineNs < first.deadlineNs!) first = timer;
    }
    return first;
  }
}

class FakeTimer implements Timer {
  deadlineNs: number | undefined;
  readonly #callback: (deadlineNs: number) => void;

  constructor(callback: (deadlineNs: number) => void) {
    this.#callback = callback;
  }

  arm(atNs: number): void {
    if (!Number.isFinite(atNs)) throw new Error(`armed at ${atNs}`);
    this.deadlineNs = atNs;
  }

  disarm(): void {
    this.deadlineNs = undefined;
  }

  fire(): void {
    const deadlineNs = this.deadlineNs!;
    this.deadlineNs = undefined;
    this.#callback(deadlineNs);
  }
}

/** RAM from address 0. */
export class FlatMemory implements GuestMemory {
  readonly bytes: Uint8Array;
  /** By others, as they have said. */
  readonly writes: [gpa: Gpa, length: number][] = [];
  readonly #view: DataView;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
    this.#view = new DataView(this.bytes.buffer);
  }

  get segments(): GuestMemory["segments"] {
    return [{ start: 0, sizeBytes: this.bytes.length, kind: "ram" }];
  }

  get lowRamBytes(): number {
    return this.bytes.length;
  }

  read(gpa: Gpa, into: Uint8Array): boolean {
    if (!this.#holds(gpa, into.length)) return false;
    into.set(this.bytes.subarray(gpa, gpa + into.length));
    return true;
  }

  write(gpa: Gpa, from: Uint8Array): boolean {
    if (!this.#holds(gpa, from.length)) return false;
    this.bytes.set(from, gpa);
    return true;
  }

  place(gpa: Gpa, length: number): number {
    return this.#holds(gpa, length) ? gpa : -1;
  }

  written(gpa: Gpa, length: number): void {
    if (!this.#holds(gpa, length)) throw new RangeError("not RAM");
    this.writes.push([gpa, length]);
  }

  discard(gpa: Gpa, length: number): boolean {
    if (!this.#holds(gpa, length) || gpa % 4096 !== 0 || length % 4096 !== 0) return false;
    this.bytes.fill(0, gpa, gpa + length);
    return true;
  }

  read8(gpa: Gpa): number | undefined {
    return this.#holds(gpa, 1) ? this.#view.getUint8(gpa) : undefined;
  }

  read16(gpa: Gpa): number | undefined {
    return this.#holds(gpa, 2) ? this.#view.getUint16(gpa, true) : undefined;
  }

  read32(gpa: Gpa): number | undefined {
    return this.#holds(gpa, 4) ? this.#view.getUint32(gpa, true) : undefined;
  }

  read64(gpa: Gpa): bigint | undefined {
    return this.#holds(gpa, 8) ? this.#view.getBigUint64(gpa, true) : undefined;
  }

  write8(gpa: Gpa, value: number): boolean {
    if (!this.#holds(gpa, 1)) return false;
    this.#view.setUint8(gpa, value);
    return true;
  }

  write16(gpa: Gpa, value: number): boolean {
    if (!this.#holds(gpa, 2)) return false;
    this.#view.setUint16(gpa, value, true);
    return true;
  }

  write32(gpa: Gpa, value: number): boolean {
    if (!this.#holds(gpa, 4)) return false;
    this.#view.setUint32(gpa, value, true);
    return true;
  }

  write64(gpa: Gpa, value: bigint): boolean {
    if (!this.#holds(gpa, 8)) return false;
    this.#view.setBigUint64(gpa, value, true);
    return true;
  }

  #holds(gpa: Gpa, length: number): boolean {
    return Number.isInteger(gpa) && gpa >= 0 && gpa + length <= this.bytes.length;
  }
}

/** A wire whose level and rising edges a test can read. */
export class FakeIrqLine implements IrqLine {
  level = false;
  rises = 0;

  set(level: boolean): void {
    if (level && !this.level) this.rises++;
    this.level = level;
  }
}

/** A disk whose requests a test completes. */
export class FakeDisk implements BlockChannel {
  /** Under way, in the order of their numbers; `bytes` of writes. */
  readonly requests: (BlockRequest & { readonly bytes: Uint8Array })[] = [];
  /** Every request since the start, as a line. */
  readonly history: string[] = [];
  /** A test carries out what has `spans`. */
  reachesMemory = false;
  withdrawals = 0;
  readonly #onDone: (completion: BlockCompletion) => void;
  #buffer: Uint8Array = new Uint8Array(0);

  constructor(onDone: (completion: BlockCompletion) => void) {
    this.#onDone = onDone;
  }

  writeBuffer(length: number): Uint8Array {
    this.#buffer = new Uint8Array(length);
    return this.#buffer;
  }

  submit(request: BlockRequest): void {
    if (this.requests.some(({ id }) => id === request.id))
      throw new Error(`request ${request.id} is under way already`);
    const bytes = request.operation === "write" ? this.#buffer : new Uint8Array(0);
    this.history.push(`${request.operation} ${request.offset}+${request.length}`);
    this.requests.push({ ...request, bytes });
    this.requests.sort((a, b) => a.id - b.id);
  }

  /** Ends the request at `index`; one that reads gets `bytes`, or as many as it asked for of value `fill`. */
  complete(
    index = 0,
    { isOk = true, fill = 0, bytes }: { isOk?: boolean; fill?: number; bytes?: Uint8Array } = {},
  ): void {
    const [request] = this.requests.splice(index, 1);
    if (!request) throw new Error(`no request ${index} is under way`);
    const isRead = request.operation === "read";
    const isInMemory = isRead && request.spans !== undefined;
    const read = isRead && isOk && !isInMemory ? (bytes ?? new Uint8Array(request.length).fill(fill)) : undefined;
    this.#onDone({ id: request.id, isOk, bytes: read ?? new Uint8Array(0), ...(isInMemory && { isInMemory }) });
  }

  withdraw(): void {
    this.withdrawals++;
  }

  /** A completion that nobody asked for, or of another length. */
  deliver(completion: BlockCompletion): void {
    this.#onDone(completion);
  }
}

/** A network's end whose frames come when the test says. */
export class FakeNetwork implements NetworkChannel {
  readonly port: NetworkPort;
  /** What the card has sent. */
  readonly sent: Uint8Array[] = [];
  /** Of them, those that were offloaded. */
  readonly offloaded: Uint8Array[] = [];
  takesOffloads = false;
  takesLarge = false;
  readonly #onSend: (frame: Uint8Array) => void;

  constructor(port: NetworkPort, onSend: (frame: Uint8Array) => void) {
    this.port = port;
    this.#onSend = onSend;
  }

  send(frame: Uint8Array, isOffloaded = false): void {
    const copy = frame.slice();
    this.sent.push(copy);
    if (isOffloaded) this.offloaded.push(copy);
    this.#onSend(frame);
  }

  setTakesLarge(isTaken: boolean): void {
    this.takesLarge = isTaken;
  }

  /** False: it waits outside. */
  deliver(frame: Uint8Array, segmentBytes = 0): boolean {
    if (!this.port.isReady) return false;
    this.port.receive(frame, segmentBytes);
    return true;
  }
}

/** A shared folder whose requests a test answers. */
export class FakeShare implements FileChannel {
  /** Under way, in the order in which they were submitted; `data` of writes. */
  readonly requests: {
    readonly id: number;
    readonly message: Uint8Array;
    readonly request: SentRequest;
    readonly data: Uint8Array;
  }[] = [];
  readonly #onDone: (completion: FileCompletion) => void;
  #buffer: Uint8Array = new Uint8Array(0);

  constructor(onDone: (completion: FileCompletion) => void) {
    this.#onDone = onDone;
  }

  dataBuffer(length: number): Uint8Array {
    this.#buffer = new Uint8Array(length);
    return this.#buffer;
  }

  submit(id: number, message: Uint8Array, dataBytes: number): void {
    if (this.requests.some((known) => known.id === id)) throw new Error(`request ${id} is under way already`);
    if (this.requests.length >= FILE_LIMITS.requests) throw new Error("more requests than may be under way");
    if (message.length > FILE_LIMITS.messageBytes) throw new Error(`a request of ${message.length} bytes`);
    if (dataBytes > FILE_LIMITS.dataBytes) throw new Error(`a request with ${dataBytes} bytes of data`);
    const data = this.#buffer.slice(0, dataBytes);
    this.requests.push({ id, message: message.slice(), request: decodeRequest(message), data });
  }

  /** Answers the oldest request. */
  complete(bytes: Uint8Array = new Uint8Array(0), error = 0): void {
    const request = this.requests.shift();
    if (!request) throw new Error("no request is under way");
    this.#onDone({ id: request.id, error, bytes });
  }

  /** Has all of them answered, and what comes of that. */
  answerBy(folder: MemoryFolder): void {
    for (let next = this.requests.shift(); next; next = this.requests.shift()) {
      this.#onDone({ id: next.id, ...folder.answer(next.message, next.data) });
    }
  }

  /** A completion that nobody asked for. */
  deliver(completion: FileCompletion): void {
    this.#onDone(completion);
  }
}

export class FakeContext implements DeviceContext {
  /** None, unless a test gives it. */
  deviceMemory?: NonNullable<DeviceContext["deviceMemory"]>;
  readonly clock: FakeClock;
  readonly memory: FlatMemory;
  /** As `protectShadow` was told last. */
  shadowParts = 0;
  /** What left through `output`, as [channel, bytes]. */
  readonly outputs: [string, Uint8Array][] = [];
  readonly powerActions: string[] = [];
  readonly lines: Map<string, FakeIrqLine> = new Map();
  readonly disks: Map<string, FakeDisk> = new Map();
  readonly networks: Map<string, FakeNetwork> = new Map();
  readonly shares: Map<string, FakeShare> = new Map();
  readonly #inputs = new Map<string, (bytes: Uint8Array) => void>();
  #randomState = 1;

  constructor(options: { nowNs?: number; memoryBytes?: number } = {}) {
    this.clock = new FakeClock(options.nowNs);
    this.memory = new FlatMemory(options.memoryBytes ?? 0x1_0000);
  }

  /** Takes over the machine's own parts of another context: memory and the random stream. */
  copyFrom(other: FakeContext): void {
    this.memory.bytes.set(other.memory.bytes);
    this.#randomState = other.#randomState;
  }

  random(into: Uint8Array): void {
    for (let i = 0; i < into.length; i++) {
      this.#randomState = (Math.imul(this.#randomState, 1_103_515_245) + 12_345) >>> 0;
      into[i] = this.#randomState >>> 16;
    }
  }

  onInput(channel: string, handler: (bytes: Uint8Array) => void): void {
    if (this.#inputs.has(channel)) throw new Error(`channel ${channel} has a handler already`);
    this.#inputs.set(channel, handler);
  }

  output(channel: string, bytes: Uint8Array): void {
    this.outputs.push([channel, bytes.slice()]);
  }

  openDisk(channel: string, onDone: (completion: BlockCompletion) => void): BlockChannel {
    if (this.disks.has(channel)) throw new Error(`disk ${channel} is open already`);
    const disk = new FakeDisk(onDone);
    this.disks.set(channel, disk);
    return disk;
  }

  openNetwork(channel: string, port: NetworkPort): NetworkChannel {
    if (this.networks.has(channel)) throw new Error(`network ${channel} is open already`);
    const network = new FakeNetwork(port, (frame) => this.output(channel, frame));
    this.networks.set(channel, network);
    return network;
  }

  openShare(channel: string, onDone: (completion: FileCompletion) => void): FileChannel {
    if (this.shares.has(channel)) throw new Error(`share ${channel} is open already`);
    const share = new FakeShare(onDone);
    this.shares.set(channel, share);
    return share;
  }

  protectShadow(parts: number): void {
    this.shadowParts = parts;
  }

  power(action: "off" | "reset" | "crashed"): void {
    this.powerActions.push(action);
  }

  /** The channels that the device listens to. */
  get channels(): readonly string[] {
    return [...this.#inputs.keys()];
  }

  /** Bytes from the outside. */
  input(channel: string, bytes: Uint8Array): void {
    const handler = this.#inputs.get(channel);
    if (!handler) throw new Error(`nobody listens to ${channel}`);
    handler(bytes);
  }

  /** Everything sent to a channel so far, joined. */
  sent(channel: string): Uint8Array {
    return Uint8Array.from(this.outputs.flatMap(([name, bytes]) => (name === channel ? [...bytes] : [])));
  }

  /** A recorded wire, made on first use. */
  line(name: string): FakeIrqLine {
    let line = this.lines.get(name);
    if (!line) {
      line = new FakeIrqLine();
      this.lines.set(name, line);
    }
    return line;
  }
}
