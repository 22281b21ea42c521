/**
 * One port of an AHCI controller (AHCI 1.3.1, 3.3 and chapters 5, 6, 10): its registers, its list of commands, and the
 * frames that its drive answers with.
 *
 *   PxCI bit --> header, table --> drive --> answer at once, or work for the disk ... --> frame, PxCI or PxSACT, PxIS
 *
 * One command at a time, or up to 32 queued ones. An error stops the port until ST is cleared. Lists, frames and regions are
 * the driver's and hostile: what is not in memory or makes no sense is a fatal error of the port. Left out: port
 * multipliers, power management of the link, hot plug, descriptors with the interrupt bit.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { ATA, AtaDisk } from "./ata-disk.ts";
import { AtapiCd } from "./atapi-cd.ts";
import { trayChannel } from "./cd-tray.ts";
import { type CommandHeader, commandFrame, HEADER_FLAG, readHeader, writeTransferred } from "./command-list.ts";
import { DiskRequests, type SataDiskOptions } from "./disk-requests.ts";
import type { Drive, DriveReply } from "./drive.ts";
import { deviceBitsFrame, pioSetupFrame, registerFrame, signatureFrame } from "./frames.ts";
import { PRD_START, scatter } from "./prd-table.ts";
import {
  ATA_STATUS,
  address,
  FIS_BYTES,
  FIS_TYPE,
  PX,
  PXCMD,
  PXCMD_WRITABLE,
  PXIS,
  PXIS_FATAL,
  PXIS_MASK,
  READY,
  RX_FIS,
  SERR_DIAG_X,
  SLOTS,
  SSTS_UP,
} from "./registers.ts";
import { SataWork } from "./sata-work.ts";

export interface PortDrive extends SataDiskOptions {
  readonly medium: "disk" | "cd";
}

const SRST = 0x04;
const DET_MASK = 0xf;
/** Dwords of a register frame. */
const CFL = 5;
/** Sector count at the end of a PACKET command: IO and CoD (SFF-8020i, 5.4). */
const PACKET_DONE = 3;

export class AhciPort {
  /** Where the drive is one for CDs. */
  readonly cd: AtapiCd | undefined;
  readonly #memory: GuestMemory;
  readonly #drive: Drive | undefined;
  readonly #requests: DiskRequests | undefined;
  /** PxIS or PxIE changed. */
  readonly #changed: () => void;
  #clb = 0;
  #clbu = 0;
  #fb = 0;
  #fbu = 0;
  #is = 0;
  #ie = 0;
  #cmd = 0;
  #tfd = 0;
  #sig = 0;
  #ssts = 0;
  #sctl = 0;
  #serr = 0;
  #sact = 0;
  #ci = 0;
  /** Where the search for the next command starts. */
  #slot = 0;
  #isStopped = false;
  #isInSoftReset = false;

  constructor(context: DeviceContext, drive: PortDrive | undefined, changed: () => void) {
    this.#memory = context.memory;
    this.#changed = changed;
    if (!drive) return;
    const medium = { ...drive, isRemovable: drive.medium === "cd" };
    if (drive.medium === "cd") {
      const cd = new AtapiCd(medium);
      this.#drive = cd;
      this.cd = cd;
      context.onInput(trayChannel(drive.name), (bytes) => cd.handle(bytes));
    } else this.#drive = new AtaDisk(medium);
    this.#requests = new DiskRequests(context, medium, (work) => this.#ended(work));
  }

  get hasInterrupt(): boolean {
    return (this.#interrupts & this.#ie) !== 0;
  }

  /** DIAG.X of PxSERR shows as PCS, which is cleared there. */
  get #interrupts(): number {
    return this.#is | (this.#serr & SERR_DIAG_X ? PXIS.PCS : 0);
  }

  read(register: number): number {
    switch (register) {
      case PX.CLB:
        return this.#clb;
      case PX.CLBU:
        return this.#clbu;
      case PX.FB:
        return this.#fb;
      case PX.FBU:
        return this.#fbu;
      case PX.IS:
        return this.#interrupts;
      case PX.IE:
        return this.#ie;
      case PX.CMD:
        return this.#commandRegister();
      case PX.TFD:
        return this.#tfd;
      case PX.SIG:
        return this.#sig;
      case PX.SSTS:
        return this.#ssts;
      case PX.SCTL:
        return this.#sctl;
      case PX.SERR:
        return this.#serr;
      case PX.SACT:
        return this.#sact;
      case PX.CI:
        return this.#ci;
      default:
        return 0;
    }
  }

  write(register: number, value: number): void {
    switch (register) {
      case PX.CLB:
        this.#clb = value & ~0x3ff;
        break;
      case PX.CLBU:
        this.#clbu = value;
        break;
      case PX.FB:
        this.#fb = value & ~0xff;
        break;
      case PX.FBU:
        this.#fbu = value;
        break;
      case PX.IS:
        this.#is &= ~value;
        this.#changed();
        break;
      case PX.IE:
        this.#ie = value & PXIS_MASK;
        this.#changed();
        break;
      case PX.CMD:
        this.#writeCommand(value);
        break;
      case PX.SCTL:
        this.#writeControl(value & 0xfff);
        break;
      case PX.SERR:
        this.#serr &= ~value;
        this.#changed();
        break;
      case PX.SACT:
        if (this.#cmd & PXCMD.ST) this.#sact |= value;
        break;
      case PX.CI:
        if ((this.#cmd & PXCMD.ST) === 0) break;
        this.#ci |= value;
        this.#process();
        break;
      default:
        break;
    }
  }

  /** "power": of the machine; "controller": GHC.HR. PxCLB and PxFB are the driver's, and stay with the latter (10.4.3). */
  reset(kind: "power" | "controller"): void {
    this.#requests?.[kind === "power" ? "abandon" : "cancel"]();
    if (kind === "power") this.#clb = this.#clbu = this.#fb = this.#fbu = 0;
    this.#is = 0;
    this.#ie = 0;
    this.#cmd = PXCMD.SUD | PXCMD.POD;
    this.#sctl = 0;
    this.#serr = 0;
    this.#forget();
    this.#drive?.reset(kind === "power" ? "power" : "link");
    this.#linkUp();
  }

  resume(): void {
    this.#requests?.resume();
  }

  save(): StateValue {
    return {
      clb: this.#clb >>> 0,
      clbu: this.#clbu >>> 0,
      fb: this.#fb >>> 0,
      fbu: this.#fbu >>> 0,
      is: this.#is >>> 0,
      ie: this.#ie >>> 0,
      cmd: this.#cmd >>> 0,
      tfd: this.#tfd,
      sig: this.#sig >>> 0,
      ssts: this.#ssts,
      sctl: this.#sctl,
      serr: this.#serr >>> 0,
      sact: this.#sact >>> 0,
      ci: this.#ci >>> 0,
      slot: this.#slot,
      isStopped: this.#isStopped,
      isInSoftReset: this.#isInSoftReset,
      drive: this.#drive?.save() ?? null,
      requests: this.#requests?.save() ?? null,
    };
  }

  /** Throws StateError; `reset` and the disc of before then make it whole. */
  restore(reader: StateReader): void {
    this.#clb = reader.u32("clb") & ~0x3ff;
    this.#clbu = reader.u32("clbu");
    this.#fb = reader.u32("fb") & ~0xff;
    this.#fbu = reader.u32("fbu");
    this.#is = reader.u32("is") & PXIS_MASK;
    this.#ie = reader.u32("ie") & PXIS_MASK;
    this.#cmd = (reader.u32("cmd") & PXCMD_WRITABLE) | PXCMD.SUD | PXCMD.POD;
    this.#tfd = reader.u16("tfd");
    this.#sig = reader.u32("sig");
    this.#ssts = reader.int("ssts", 0, this.#drive ? SSTS_UP : 4);
    this.#sctl = reader.int("sctl", 0, 0xfff);
    this.#serr = reader.u32("serr");
    this.#sact = reader.u32("sact");
    this.#ci = reader.u32("ci");
    this.#slot = reader.int("slot", 0, SLOTS - 1);
    this.#isStopped = reader.bool("isStopped");
    this.#isInSoftReset = reader.bool("isInSoftReset");
    if (this.#drive && this.#requests) {
      this.#drive.restore(reader.object("drive"));
      this.#requests.restore(reader.object("requests"));
      if (this.#requests.size > 0 && (this.#cmd & PXCMD.ST) === 0) {
        throw reader.invalid("cmd", "is of a port that is stopped, which has commands");
      }
    } else if (reader.part("drive") !== null || reader.part("requests") !== null) {
      throw reader.invalid("drive", "is at a port without one");
    }
    reader.end();
  }

  #commandRegister(): number {
    const running = this.#cmd & PXCMD.ST ? PXCMD.CR : 0;
    const receiving = this.#cmd & PXCMD.FRE ? PXCMD.FR : 0;
    // CCS: the command that is under way, or that the port stopped at.
    return this.#cmd | running | receiving | (this.#cmd & PXCMD.ST ? this.#slot << 8 : 0);
  }

  #writeCommand(value: number): void {
    const before = this.#cmd;
    this.#cmd = (value & PXCMD_WRITABLE) | PXCMD.SUD | PXCMD.POD;
    const wasRunning = (before & PXCMD.ST) !== 0;
    const isRunning = (this.#cmd & PXCMD.ST) !== 0;
    if (wasRunning && !isRunning) {
      this.#requests?.cancel();
      this.#forget();
    }
    if (value & PXCMD.CLO && !isRunning) this.#tfd &= ~(ATA_STATUS.BSY | ATA_STATUS.DRQ);
    if (!wasRunning && isRunning) this.#slot = 0;
    if ((before & PXCMD.FRE) === 0 && this.#cmd & PXCMD.FRE && (this.#ssts & DET_MASK) === 3)
      this.#postSignature(false);
  }

  /** DET 1 holds the link in reset; back to 0 it comes up (10.4.2). */
  #writeControl(value: number): void {
    const before = this.#sctl & DET_MASK;
    const det = value & DET_MASK;
    this.#sctl = value;
    if (det === before) return;
    if (det !== 0) {
      this.#requests?.cancel();
      this.#drive?.reset("link");
      this.#ssts = det === 4 ? 4 : 0;
      this.#tfd = 0x7f;
      return;
    }
    this.#linkUp();
    if (!this.#drive) return;
    this.#serr |= SERR_DIAG_X;
    this.#postSignature(true);
    this.#changed();
  }

  #linkUp(): void {
    this.#isInSoftReset = false;
    this.#ssts = this.#drive ? SSTS_UP : 0;
    this.#sig = this.#drive?.signature ?? 0xffff_ffff;
    this.#tfd = this.#drive ? this.#readyTaskFile() : 0x7f;
  }

  get #isPacketDrive(): boolean {
    return this.#sig !== 0x0000_0101;
  }

  /** Error 1: the diagnostic passed. An ATAPI drive does not say DRDY. */
  #readyTaskFile(): number {
    return 0x0100 | (this.#isPacketDrive ? ATA_STATUS.DSC : READY);
  }

  #forget(): void {
    this.#ci = 0;
    this.#sact = 0;
    this.#slot = 0;
    this.#isStopped = false;
  }

  /** Sends the drive what it can take. */
  #process(): void {
    const first = this.#slot;
    for (let i = 0; i < SLOTS; i++) {
      const slot = (first + i) % SLOTS;
      const bit = 1 << slot;
      const isUp = this.#cmd & PXCMD.ST && !this.#isStopped && (this.#ssts & DET_MASK) === 3;
      if (!isUp || !this.#requests || this.#requests.isBusy) return;
      if ((this.#ci & bit) !== 0 && !this.#requests.hasSlot(slot)) this.#execute(slot);
    }
  }

  #execute(slot: number): void {
    const header = this.#header(slot);
    const fis = new Uint8Array(FIS_BYTES);
    if (!header || !this.#memory.read(header.table, fis)) {
      this.#fatal(slot, PXIS.HBFS);
      return;
    }
    if (fis[0] !== FIS_TYPE.H2D || (header.flags & HEADER_FLAG.CFL) !== CFL) {
      this.#fatal(slot, PXIS.IFS);
      return;
    }
    if ((fis[1]! & 0x80) === 0) {
      this.#control(slot, (fis[15]! & SRST) !== 0);
      return;
    }
    const isQueued = fis[2] === ATA.READ_FPDMA_QUEUED || fis[2] === ATA.WRITE_FPDMA_QUEUED;
    // The drive has queued commands, and takes no other until they are done.
    if (!isQueued && this.#requests!.hasQueued) return;
    this.#slot = slot;
    const reply = this.#drive!.command(commandFrame(this.#memory, header, slot, fis));
    this.#answer(header, slot, isQueued, reply);
  }

  #answer(header: CommandHeader, slot: number, isQueued: boolean, reply: DriveReply): void {
    switch (reply.kind) {
      case "work": {
        const work = new SataWork(slot, reply.transfer, reply.request, header.prds);
        if (isQueued) {
          // The drive has it, and is ready for the next.
          this.#ci &= ~(1 << slot);
          this.#register(READY, 0, 0, false);
        } else this.#tfd = READY | ATA_STATUS.BSY;
        this.#requests!.start(work);
        return;
      }
      case "data": {
        const done = scatter(this.#memory, header.prds, PRD_START, reply.bytes);
        writeTransferred(this.#memory, header, done);
        if (reply.isPacket) {
          this.#pioSetup(reply.bytes.length, false);
          this.#finish(slot, READY, 0, PACKET_DONE);
        } else {
          this.#ci &= ~(1 << slot);
          this.#tfd = READY;
          this.#pioSetup(reply.bytes.length, true);
        }
        return;
      }
      case "done":
        this.#finish(slot, READY, 0, reply.count ?? (this.#isPacketDrive ? PACKET_DONE : 0));
        return;
      case "signature":
        this.#ci &= ~(1 << slot);
        this.#tfd = this.#readyTaskFile();
        this.#postSignature(true);
        return;
      case "error":
        if (isQueued) this.#queuedError(reply.error);
        else this.#fail(reply.error);
        return;
    }
  }

  /** The disk has done a command, or could not. */
  #ended(work: SataWork): void {
    const { slot, transfer, request } = work;
    const bit = 1 << slot;
    this.#slot = slot;
    if (work.isFailed) {
      const error = this.#drive!.failed({ slot, transfer, isWrite: request.operation !== "read" });
      if (transfer === "queued") this.#queuedError(error);
      else this.#fail(error);
      return;
    }
    if (transfer === "queued") {
      this.#sact &= ~bit;
      this.#deviceBits(READY, 0, bit);
    } else {
      const header = this.#header(slot);
      if (header) writeTransferred(this.#memory, header, work.dataBytes);
      if (transfer === "pio" && request.operation === "read") {
        this.#ci &= ~bit;
        this.#tfd = READY;
        this.#pioSetup(work.dataBytes, true);
      } else this.#finish(slot, READY, 0, transfer === "packet" ? PACKET_DONE : 0);
    }
    this.#process();
  }

  #control(slot: number, isReset: boolean): void {
    this.#ci &= ~(1 << slot);
    if (isReset) {
      this.#isInSoftReset = true;
      this.#requests!.cancel();
      this.#sact = 0;
      const header = this.#header(slot);
      const clearsBusy = header !== undefined && (header.flags & HEADER_FLAG.CLEAR_BUSY) !== 0;
      this.#tfd = READY | (clearsBusy ? 0 : ATA_STATUS.BSY);
    } else if (this.#isInSoftReset) {
      this.#isInSoftReset = false;
      this.#drive!.reset("software");
      this.#tfd = this.#readyTaskFile();
      this.#postSignature(true);
    }
  }

  #header(slot: number): CommandHeader | undefined {
    return readHeader(this.#memory, { clb: this.#clb, clbu: this.#clbu }, slot);
  }

  #finish(slot: number, status: number, error: number, count: number): void {
    this.#ci &= ~(1 << slot);
    this.#register(status, error, count, true);
  }

  #fail(error: number): void {
    this.#isStopped = true;
    this.#is |= PXIS.TFES;
    this.#register(READY | ATA_STATUS.ERR, error, 0, true);
  }

  /** The drive drops all queued commands. */
  #queuedError(error: number): void {
    this.#requests!.cancel();
    this.#isStopped = true;
    this.#is |= PXIS.TFES;
    this.#deviceBits(READY | ATA_STATUS.ERR, error, 0);
  }

  #fatal(slot: number, cause: number): void {
    this.#slot = slot;
    this.#isStopped = true;
    this.#is |= cause & PXIS_FATAL;
    this.#changed();
  }

  #register(status: number, error: number, count: number, interrupts: boolean): void {
    this.#tfd = (error << 8) | status;
    this.#receive(RX_FIS.REGISTER, registerFrame({ status, error, interrupts }, count), interrupts ? PXIS.DHRS : 0);
  }

  #postSignature(interrupts: boolean): void {
    const answer = { status: this.#tfd & 0xff, error: this.#tfd >>> 8, interrupts };
    this.#receive(RX_FIS.REGISTER, signatureFrame(answer, this.#sig), interrupts ? PXIS.DHRS : 0);
  }

  #pioSetup(length: number, interrupts: boolean): void {
    this.#receive(RX_FIS.PIO_SETUP, pioSetupFrame(length, interrupts), interrupts ? PXIS.PSS : 0);
  }

  #deviceBits(status: number, error: number, done: number): void {
    const bits = status & 0x77;
    this.#tfd = (error << 8) | (this.#tfd & 0x88) | bits;
    this.#receive(RX_FIS.SET_DEVICE_BITS, deviceBitsFrame(bits, error, done), PXIS.SDBS);
  }

  /** A frame comes, with the interrupt that it brings. */
  #receive(offset: number, fis: Uint8Array, interrupt: number): void {
    if (this.#cmd & PXCMD.FRE) {
      const area = address(this.#fb, this.#fbu >>> 0);
      if (area === undefined || !this.#memory.write(area + offset, fis)) {
        this.#is |= PXIS.HBFS;
        this.#isStopped = true;
      }
    }
    this.#is |= interrupt;
    this.#changed();
  }
}
