/**
 * NVMe controller with one namespace, its disk (NVM Express 1.4, NVM command set; PCI 1b36:0010, class 010802): an admin
 * queue pair and up to eight more, physical region pages, MSI-X or INTx, a volatile write cache.
 *
 *   doorbell --> queues fetch (queue-set.ts) --> admin command, answered at once (admin-commands.ts)
 *                                            \-> work --pieces--> channel ... completions --> data, completion queue, vector
 *
 * Commands stay in their queue until the channel has room and their completion, too. Queues are taken in turn. What is under
 * way at a controller reset comes back to nobody, and nothing new goes out before it has.
 * Left out: scatter-gather lists, fused commands, weighted arbitration, power states, metadata, several namespaces.
 */
import type { AccessSize, IoHandler } from "../../bus/io.ts";
import { PciFunction } from "../../bus/pci/function.ts";
import type { Msix } from "../../bus/pci/msix.ts";
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { StateReader } from "../../state/reader.ts";
import { BLOCK_LIMITS, type BlockChannel, type BlockCompletion, type BlockOperation } from "../block-channel.ts";
import type { Device, DeviceContext, StateValue } from "../device.ts";
import { RequestsUnderWay } from "../requests-under-way.ts";
import { type AdminParts, adminCommand } from "./admin-commands.ts";
import { Features } from "./features.ts";
import { PCI_IDENTITY } from "./identify.ts";
import { AsyncEvents, ERROR_EVENT, LogPages } from "./log-pages.ts";
import {
  type NvmeDisk,
  type NvmePiece,
  NvmeWork,
  parseRequest,
  readByteRange,
  SECTOR_BYTES,
  shutdownRequest,
} from "./nvme-work.ts";
import { gather, scatter } from "./prp.ts";
import { type Completion, type CompletionQueue, QueueSet, type SubmissionQueue } from "./queue-set.ts";
import {
  BAR_BYTES,
  CAP_HIGH_VALUE,
  CAP_VALUE,
  CC,
  CC_WRITABLE,
  CSTS,
  DOORBELLS,
  IO_QUEUES,
  type NvmeCommand,
  REG,
  STATUS,
  VECTORS,
  VS_VALUE,
} from "./registers.ts";

/** IOCQES 4, IOSQES 6. */
const ENTRY_SIZES = 0x46 << 16;
const ADDRESS_LOW_MASK = 0xffff_f000;
const AQA_MASK = 0x0fff_0fff;

interface UnderWay extends NvmePiece {
  readonly work: NvmeWork;
}

export class NvmeController implements Device, IoHandler {
  readonly name: string;
  readonly schema = { id: "nvme", version: 1 } as const;
  readonly pci: PciFunction;
  readonly #memory: GuestMemory;
  readonly #disk: NvmeDisk;
  readonly #msix: Msix;
  readonly #channel: BlockChannel;
  readonly #queues: QueueSet;
  readonly #features = new Features();
  readonly #logs = new LogPages();
  readonly #events = new AsyncEvents();
  readonly #admin: AdminParts;
  readonly #work = new Set<NvmeWork>();
  readonly #underWay: RequestsUnderWay<UnderWay>;
  /** Which vectors a pin does not show. */
  #interruptMask = 0;
  #cc = 0;
  #csts = 0;
  #aqa = 0;
  #asq = { low: 0, high: 0 };
  #acq = { low: 0, high: 0 };
  /** The queue whose turn it is. */
  #turn = 1;

  constructor(context: DeviceContext, disk: NvmeDisk) {
    this.name = disk.name;
    this.#memory = context.memory;
    this.#disk = disk;
    this.pci = new PciFunction({
      name: disk.name,
      vendorId: PCI_IDENTITY.VENDOR,
      deviceId: PCI_IDENTITY.DEVICE,
      subsystemVendorId: PCI_IDENTITY.SUBSYSTEM_VENDOR,
      subsystemId: PCI_IDENTITY.SUBSYSTEM,
      classCode: 0x01_0802,
      revisionId: 0x02,
      interruptPin: 1,
    });
    this.pci.addMemoryBar(0, BAR_BYTES, this, { wide: true });
    this.#msix = this.pci.addMsix(4, VECTORS);
    this.#queues = new QueueSet(context.memory);
    this.#channel = context.openDisk(disk.name, (completion) => this.#completed(completion));
    this.#underWay = new RequestsUnderWay<UnderWay>(this.#channel, (id, piece) => this.#submit(id, piece));
    this.#admin = {
      memory: context.memory,
      disk,
      queues: this.#queues,
      features: this.#features,
      logs: this.#logs,
      events: this.#events,
      hasEntrySizes: () => (this.#cc & (0xff << 16)) === ENTRY_SIZES,
    };
    this.reset();
  }

  read(offset: number, size: AccessSize): number {
    const value = this.#readRegister(offset & ~3) >>> (8 * (offset & 3));
    return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
  }

  /** Registers are written whole, or as halves of 64 bits (3.1). */
  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || (offset & 3) !== 0) return;
    if (offset >= DOORBELLS) this.#ring((offset - DOORBELLS) / 4, value & 0xffff);
    else this.#writeRegister(offset, value >>> 0);
  }

  reset(): void {
    this.#underWay.abandon();
    this.#forget();
    this.#aqa = 0;
    this.#asq = { low: 0, high: 0 };
    this.#acq = { low: 0, high: 0 };
    this.#cc = 0;
    this.#logs.reset();
    this.pci.reset();
    this.pci.intx.set(false);
  }

  resume(): void {
    this.#underWay.resume();
  }

  save(): StateValue {
    const work = [...this.#work];
    return {
      pci: this.pci.save(),
      interruptMask: this.#interruptMask >>> 0,
      cc: this.#cc >>> 0,
      csts: this.#csts,
      aqa: this.#aqa,
      asq: { ...this.#asq },
      acq: { ...this.#acq },
      turn: this.#turn,
      features: this.#features.save(),
      logs: this.#logs.save(),
      events: this.#events.save(),
      work: work.map((one) => one.save()),
      requests: this.#underWay.save(({ work: of, offset, length }) => ({
        work: work.indexOf(of),
        range: { offset, length },
      })),
      queues: this.#queues.save(),
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
    this.#driveIntx();
  }

  #restore(reader: StateReader): void {
    this.pci.restore(reader.part("pci"), `${reader.path}.pci`);
    this.#interruptMask = reader.u32("interruptMask");
    this.#cc = reader.u32("cc") & CC_WRITABLE;
    this.#csts = reader.int("csts", 0, CSTS.RDY | CSTS.CFS | CSTS.SHST_DONE);
    this.#aqa = reader.u32("aqa") & AQA_MASK;
    this.#asq = readAddress(reader.object("asq"));
    this.#acq = readAddress(reader.object("acq"));
    this.#turn = reader.int("turn", 1, IO_QUEUES);
    this.#features.restore(reader.object("features"));
    this.#logs.restore(reader.object("logs"));
    this.#events.restore(reader.object("events"));
    const work = reader.array("work", BLOCK_LIMITS.requests + 1).map((one) => NvmeWork.restore(one, this.#disk));
    const commands = new Map<number, number>();
    for (const one of work) {
      this.#work.add(one);
      if (one.sq !== 0) commands.set(one.sq, (commands.get(one.sq) ?? 0) + 1);
    }
    const requests = reader.object("requests");
    this.#underWay.restore(requests, (piece, operation) => this.#restorePiece(piece, operation, work));
    requests.end();
    const queues = reader.object("queues");
    this.#queues.restore(queues, commands);
    queues.end();
    reader.end();
    const isReady = this.#queues.submissions.has(0);
    if (isReady !== ((this.#csts & CSTS.RDY) !== 0) || (isReady && (this.#cc & CC.EN) === 0))
      throw reader.invalid("csts", "is not what the queues say");
    const isBusy = (this.#csts & CSTS.SHST) === CSTS.SHST_BUSY;
    const shutdowns = work.filter(({ sq }) => sq === 0).length;
    if (shutdowns !== (isBusy ? 1 : 0) || (!isReady && work.length > 0))
      throw reader.invalid("work", "is not what the controller does");
    for (const one of work) if (one.isDone) throw reader.invalid("work", "has a command that has ended");
  }

  #restorePiece(reader: StateReader, operation: BlockOperation, work: readonly NvmeWork[]): UnderWay {
    const of = work[reader.int("work", 0, Math.max(0, work.length - 1))];
    const range = readByteRange(reader.object("range"), this.#disk);
    if (!of) throw reader.invalid("work", "is no command");
    const isFlush = operation === "flush" && (of.request.isDurable || of.request.operation === "flush");
    if (operation !== of.request.operation && !isFlush) throw reader.invalid("operation", "is not the command's");
    const hasBytes = of.request.regions.length > 0;
    const isPart = of.request.ranges.some(({ offset, length }) =>
      hasBytes
        ? range.offset === offset && range.length === length
        : range.offset >= offset && range.offset + range.length <= offset + length,
    );
    const isFit = isFlush
      ? range.offset === 0 && range.length === 0
      : isPart && range.length > 0 && range.length <= BLOCK_LIMITS.rangeBytes;
    if (!isFit) throw reader.invalid("range", "is not the command's");
    return { work: of, operation, ...range };
  }

  #readRegister(offset: number): number {
    switch (offset) {
      case REG.CAP:
        return CAP_VALUE;
      case REG.CAP_HIGH:
        return CAP_HIGH_VALUE;
      case REG.VS:
        return VS_VALUE;
      case REG.INTMS:
      case REG.INTMC:
        return this.#interruptMask;
      case REG.CC:
        return this.#cc;
      case REG.CSTS:
        return this.#csts;
      case REG.AQA:
        return this.#aqa;
      case REG.ASQ:
        return this.#asq.low;
      case REG.ASQ_HIGH:
        return this.#asq.high;
      case REG.ACQ:
        return this.#acq.low;
      case REG.ACQ_HIGH:
        return this.#acq.high;
      default:
        return 0;
    }
  }

  #writeRegister(offset: number, value: number): void {
    switch (offset) {
      case REG.INTMS:
        this.#interruptMask |= value;
        this.#driveIntx();
        break;
      case REG.INTMC:
        this.#interruptMask &= ~value;
        this.#driveIntx();
        break;
      case REG.CC:
        this.#configure(value & CC_WRITABLE);
        break;
      case REG.AQA:
        this.#aqa = value & AQA_MASK;
        break;
      case REG.ASQ:
        this.#asq.low = (value & ADDRESS_LOW_MASK) >>> 0;
        break;
      case REG.ASQ_HIGH:
        this.#asq.high = value;
        break;
      case REG.ACQ:
        this.#acq.low = (value & ADDRESS_LOW_MASK) >>> 0;
        break;
      case REG.ACQ_HIGH:
        this.#acq.high = value;
        break;
      default:
        break;
    }
  }

  #configure(value: number): void {
    const before = this.#cc;
    this.#cc = value;
    if ((before & CC.EN) !== 0 && (value & CC.EN) === 0) this.#resetController();
    if ((before & CC.EN) === 0 && (value & CC.EN) !== 0) this.#enable();
    if ((before & CC.SHN) === 0 && (value & CC.SHN) !== 0) this.#shutDown();
  }

  #enable(): void {
    const gpa = { sq: addressOf(this.#asq), cq: addressOf(this.#acq) };
    const entries = { sq: (this.#aqa & 0xfff) + 1, cq: (this.#aqa >>> 16) + 1 };
    const isSound = (this.#cc & (CC.CSS | CC.MPS | CC.AMS)) === 0 && gpa.sq !== undefined && gpa.cq !== undefined;
    const most = (CAP_VALUE & 0xffff) + 1;
    if (!isSound || entries.sq < 2 || entries.cq < 2 || entries.sq > most || entries.cq > most) {
      this.#csts |= CSTS.CFS;
      return;
    }
    this.#queues.addCompletion({ id: 0, gpa: gpa.cq!, entries: entries.cq, vector: 0 });
    this.#queues.addSubmission({ id: 0, gpa: gpa.sq!, entries: entries.sq, cq: 0 });
    this.#csts = CSTS.RDY;
  }

  /** The admin queues' registers stay (7.3.2). */
  #resetController(): void {
    this.#underWay.resume();
    this.#underWay.abandon();
    this.#forget();
    this.#driveIntx();
  }

  #forget(): void {
    this.#work.clear();
    this.#queues.clear();
    this.#features.reset();
    this.#events.reset();
    this.#interruptMask = 0;
    this.#csts = 0;
    this.#turn = 1;
  }

  /** What was written is made durable first (7.6.2). */
  #shutDown(): void {
    if ((this.#csts & CSTS.RDY) === 0 || (this.#csts & CSTS.SHST) !== 0) {
      if ((this.#csts & CSTS.SHST) === 0) this.#csts |= CSTS.SHST_DONE;
      return;
    }
    this.#csts |= CSTS.SHST_BUSY;
    this.#work.add(new NvmeWork(0, 0, shutdownRequest()));
    this.#pump();
  }

  #ring(index: number, value: number): void {
    if ((this.#csts & CSTS.RDY) === 0) return;
    const id = index >> 1;
    const isCompletion = (index & 1) === 1;
    const queue = isCompletion ? this.#queues.completions.get(id) : this.#queues.submissions.get(id);
    if (!queue) this.#events.raise(ERROR_EVENT.NO_DOORBELL);
    else if (value >= queue.entries) this.#events.raise(ERROR_EVENT.BAD_VALUE);
    else if (!isCompletion) queue.tail = value;
    else {
      const taken = (value - queue.head + queue.entries) % queue.entries;
      if (taken > this.#queues.pending(queue as CompletionQueue)) this.#events.raise(ERROR_EVENT.BAD_VALUE);
      else queue.head = value;
      this.#driveIntx();
    }
    this.#pump();
  }

  get #isUp(): boolean {
    return (this.#csts & (CSTS.RDY | CSTS.CFS)) === CSTS.RDY;
  }

  #pump(): void {
    this.#underWay.resume();
    this.#runAdmin();
    this.#tellEvents();
    if (this.#underWay.hasOrphans) return;
    for (const work of [...this.#work]) this.#advance(work);
    let idle = 0;
    while (this.#isUp && idle < IO_QUEUES && !this.#isFull) {
      const queue = this.#queues.submissions.get(this.#turn);
      this.#turn = (this.#turn % IO_QUEUES) + 1;
      const command = queue && this.#queues.fetch(queue);
      if (!command) idle++;
      else if (command === "lost") this.#fatal();
      else {
        idle = 0;
        this.#start(queue, command);
      }
    }
  }

  /** A command that owes a flush has no piece under way for a moment: the work counts, too. */
  get #isFull(): boolean {
    return this.#underWay.isFull || this.#work.size >= BLOCK_LIMITS.requests;
  }

  #runAdmin(): void {
    const queue = this.#queues.submissions.get(0);
    while (queue && this.#isUp) {
      const command = this.#queues.fetch(queue);
      if (!command) return;
      if (command === "lost") {
        this.#fatal();
        return;
      }
      const answer = adminCommand(command, this.#admin);
      if (answer === "event") this.#queues.release(queue);
      else if (answer !== "deletion") this.#complete(queue, { cid: command.cid, ...answer });
    }
  }

  #tellEvents(): void {
    const queue = this.#queues.submissions.get(0);
    const completions = this.#queues.completions.get(0);
    if (!queue || !completions || !this.#isUp || !this.#queues.hasRoom(completions)) return;
    const event = this.#events.take();
    if (event) this.#posted(this.#queues.post(queue, { ...event, status: STATUS.SUCCESS }));
  }

  #start(queue: SubmissionQueue, command: NvmeCommand): void {
    const request = parseRequest(this.#memory, command, this.#disk, this.#features.hasWriteCache);
    if (typeof request === "number") {
      if (request !== STATUS.SUCCESS) this.#logs.failed(queue.id, command.cid, request, 0);
      this.#complete(queue, { cid: command.cid, status: request });
      return;
    }
    const work = new NvmeWork(queue.id, command.cid, request);
    this.#work.add(work);
    this.#advance(work);
  }

  #advance(work: NvmeWork): void {
    while (!this.#underWay.isFull) {
      const piece = work.next();
      if (!piece || !this.#underWay.add({ ...piece, work })) break;
    }
    this.#settle(work);
  }

  /** False: the data is not in memory. */
  #submit(id: number, { work, operation, offset, length }: UnderWay): boolean {
    const { regions, mayUnmap } = work.request;
    if (operation === "write") {
      const buffer = this.#channel.writeBuffer(length);
      if (!gather(this.#memory, regions, buffer)) return false;
    }
    this.#channel.submit({ id, operation, offset, length, ...(mayUnmap && { mayUnmap }) });
    return true;
  }

  #completed({ id, isOk, bytes }: BlockCompletion): void {
    this.#underWay.resume();
    const piece = this.#underWay.complete(id);
    if (piece) {
      const { work, operation, length } = piece;
      const isThere =
        operation !== "read" || (bytes.length === length && scatter(this.#memory, work.request.regions, bytes));
      if (!isOk || !isThere) work.isFailed = true;
      this.#settle(work);
    }
    this.#pump();
  }

  #settle(work: NvmeWork): void {
    if (!work.isDone || !this.#work.delete(work)) return;
    if (work.sq === 0) {
      this.#csts = (this.#csts & ~CSTS.SHST) | CSTS.SHST_DONE;
      return;
    }
    const { operation, ranges } = work.request;
    const { status, cid, sq } = work;
    const { offset, length } = ranges[0]!;
    if (status !== STATUS.SUCCESS) this.#logs.failed(sq, cid, status, offset / SECTOR_BYTES);
    else if (operation === "read" || operation === "write") this.#logs.transferred(operation, length / SECTOR_BYTES);
    const queue = this.#queues.submissions.get(sq)!;
    this.#complete(queue, { cid, status });
    if (queue.deletedBy === undefined || queue.underWay > 0) return;
    this.#queues.submissions.delete(sq);
    this.#complete(this.#queues.submissions.get(0)!, { cid: queue.deletedBy, status: STATUS.SUCCESS });
  }

  #complete(queue: SubmissionQueue, completion: Completion): void {
    this.#posted(this.#queues.complete(queue, completion));
  }

  #posted(queue: CompletionQueue | undefined): void {
    if (!queue) this.#fatal();
    else if (queue.vector !== undefined) {
      this.#msix.notify(queue.vector);
      this.#driveIntx();
    }
  }

  #driveIntx(): void {
    let level = false;
    for (const queue of this.#queues.completions.values()) {
      const { vector } = queue;
      if (vector === undefined || (this.#interruptMask >>> vector) & 1) continue;
      if (this.#queues.pending(queue) > 0) level = true;
    }
    this.pci.intx.set(level);
  }

  /** A queue is not in memory: nothing goes on until the controller is reset. */
  #fatal(): void {
    this.#csts |= CSTS.CFS;
  }
}

export function createNvme(context: DeviceContext, disk: NvmeDisk): NvmeController {
  return new NvmeController(context, disk);
}

function addressOf({ low, high }: { readonly low: number; readonly high: number }): number | undefined {
  return high < 2 ** 20 ? high * 2 ** 32 + low : undefined;
}

function readAddress(reader: StateReader): { low: number; high: number } {
  const address = { low: (reader.u32("low") & ADDRESS_LOW_MASK) >>> 0, high: reader.u32("high") };
  reader.end();
  return address;
}
