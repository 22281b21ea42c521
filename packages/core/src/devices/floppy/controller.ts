/**
 * Floppy controller 82077AA (Intel data sheet 290166) in AT mode, with the commands of NEC's uPD765, and up to two drives of 3.5
 * inches for disks of 1440 or 720 KiB: data by DMA channel 2, interrupt 6.
 *
 *   command bytes --> execution: nothing, heads that move, or a transfer (transfer.ts) --> result bytes --> the next command
 *
 * Heads move and motors turn at once. Left out: transfers without DMA, deleted data, SCAN and VERIFY, single density, tape, the
 * PS/2 modes' status registers, formats that an image of sectors cannot hold.
 */
import type { IoBus, IoHandler } from "../../bus/io.ts";
import { StateReader } from "../../state/reader.ts";
import type { TrayState } from "../ahci/cd-tray.ts";
import type { BlockOperation } from "../block-channel.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "../device.ts";
import type { DmaChannel } from "../dma-8237.ts";
import { DataCommands } from "./data-commands.ts";
import { FloppyDrive, type FloppyDriveOptions } from "./drive.ts";
import {
  COMMAND,
  commandBytes,
  DOR,
  DSKCHG,
  DSR,
  FLAG,
  MAX_COMMAND_BYTES,
  MAX_RESULT_BYTES,
  MSR,
  REGISTER,
  ST0,
  ST3,
} from "./registers.ts";
import { type FloppyPiece, FloppyTransfer } from "./transfer.ts";

export const FLOPPY_DRIVES = 2;
/** What is reported for after a reset. */
const POLLED_DRIVES = 4;
const VERSION = 0x90;
/** CONFIGURE: implied seeks; and the value after a reset. */
const EIS = 0x40;
const CONFIGURED = 0x00;
/** Of SPECIFY's second byte. */
const NO_DMA = 1;

export interface FloppyOptions {
  readonly name: string;
  readonly drives: readonly FloppyDriveOptions[];
  readonly irq: IrqLine;
  readonly dma: DmaChannel;
}

export class FloppyController implements Device {
  readonly name: string;
  readonly schema = { id: "floppy-82077aa", version: 1 } as const;
  /** From 3F0H, and 3F7H. */
  readonly registers: IoHandler;
  readonly inputRegister: IoHandler;
  readonly #drives: readonly FloppyDrive[];
  readonly #irq: IrqLine;
  readonly #data: DataCommands;
  #dor = 0;
  #tapeDrive = 0;
  #rate = 0;
  #specified: [number, number] = [0, 0];
  #configured: [number, number] = [CONFIGURED, 0];
  #perpendicular = 0;
  #isLocked = false;
  #command: number[] = [];
  #result: number[] = [];
  /** What SENSE INTERRUPT STATUS is to tell: ST0 of each drive that moved or was polled. */
  #senses: number[] = [];
  #hasInterrupt = false;

  constructor(context: DeviceContext, { name, drives, irq, dma }: FloppyOptions) {
    if (drives.length > FLOPPY_DRIVES) throw new RangeError(`${drives.length} floppy drives`);
    this.name = name;
    this.#irq = irq;
    this.#drives = drives.map(
      (one, i) => new FloppyDrive(context, one, (completion) => this.#data.completed(i, completion)),
    );
    this.#data = new DataCommands({
      drives: this.#drives,
      dma,
      nowNs: () => context.clock.nowNs(),
      isByDma: () => (this.#dor & DOR.DMA_GATE) !== 0 && (this.#specified[1] & NO_DMA) === 0,
      rate: () => this.#rate,
      seeksByItself: () => (this.#configured[0] & EIS) !== 0,
      ended: (result) => {
        this.#answer(...result);
        this.#raise();
      },
    });
    this.registers = {
      read: (offset) => this.#read(offset),
      write: (offset, _size, value) => this.#write(offset, value & 0xff),
    };
    this.inputRegister = {
      read: () => (this.#drives[this.#dor & DOR.SELECT]?.hasChanged ? DSKCHG : 0),
      write: (_offset, _size, value) => {
        this.#rate = value & DSR.RATE;
      },
    };
    this.reset();
  }

  /** Of the drive with this disk. */
  trayOf(disk: string): TrayState | undefined {
    return this.#drives.find(({ options }) => options.name === disk)?.tray;
  }

  reset(): void {
    for (const drive of this.#drives) drive.reset();
    this.#dor = 0;
    this.#tapeDrive = 0;
    this.#rate = 2;
    this.#specified = [0, 0];
    this.#isLocked = false;
    this.#forget();
    this.#driveIrq();
  }

  resume(): void {
    for (const { requests } of this.#drives) requests.resume();
    this.#data.pump();
  }

  save(): StateValue {
    return {
      dor: this.#dor,
      tapeDrive: this.#tapeDrive,
      rate: this.#rate,
      specified: [...this.#specified],
      configured: [...this.#configured],
      perpendicular: this.#perpendicular,
      isLocked: this.#isLocked,
      command: [...this.#command],
      result: [...this.#result],
      senses: [...this.#senses],
      hasInterrupt: this.#hasInterrupt,
      transfer: this.#data.transfer?.save() ?? null,
      drives: this.#drives.map((drive) => drive.save()),
    };
  }

  restore(state: StateValue): void {
    const putDisksBack = this.#drives.map((drive) => drive.keepDisk());
    this.reset();
    try {
      this.#restore(new StateReader(state, this.name));
    } catch (error) {
      for (const putBack of putDisksBack) putBack();
      this.reset();
      throw error;
    }
    this.#driveIrq();
  }

  #restore(reader: StateReader): void {
    const pair = (key: string): [number, number] => {
      const [one = 0, two = 0] = reader.ints(key, 2, 0, 0xff);
      return [one, two];
    };
    const bytes = (key: string, most: number): number[] =>
      reader.values(key, most).map((value) => {
        if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 0xff)
          throw reader.invalid(key, "are no bytes");
        return value;
      });
    this.#dor = reader.u8("dor");
    this.#tapeDrive = reader.int("tapeDrive", 0, 3);
    this.#rate = reader.int("rate", 0, DSR.RATE);
    this.#specified = pair("specified");
    this.#configured = pair("configured");
    this.#perpendicular = reader.u8("perpendicular");
    this.#isLocked = reader.bool("isLocked");
    this.#command = bytes("command", MAX_COMMAND_BYTES - 1);
    const [first] = this.#command;
    if (first !== undefined && this.#command.length >= (commandBytes(first) ?? 0))
      throw reader.invalid("command", "is no part of one");
    this.#result = bytes("result", MAX_RESULT_BYTES);
    this.#senses = bytes("senses", POLLED_DRIVES);
    this.#hasInterrupt = reader.bool("hasInterrupt");
    if (reader.part("transfer") !== null)
      this.#data.transfer = FloppyTransfer.restore(reader.object("transfer"), this.#drives.length);
    if (this.#data.transfer && this.#command.length + this.#result.length > 0)
      throw reader.invalid("transfer", "is not alone");
    for (const [i, saved] of reader.arrayExact("drives", this.#drives.length).entries()) {
      const drive = this.#drives[i]!;
      drive.restore(saved);
      const requests = saved.object("requests");
      drive.requests.restore(requests, (piece, operation) => this.#restorePiece(piece, operation, i));
      requests.end();
      saved.end();
    }
    reader.end();
    if ((this.#data.transfer?.underWay ?? 0) > 1)
      throw reader.invalid("drives", "have more than one request under way");
  }

  #restorePiece(reader: StateReader, operation: BlockOperation, drive: number): FloppyPiece {
    const piece = this.#data.transfer?.plan.drive === drive ? this.#data.transfer.next : undefined;
    if (piece?.operation !== operation) throw reader.invalid("operation", "is not the command's");
    reader.int("side", piece.side, piece.side);
    return piece;
  }

  #read(offset: number): number {
    switch (offset) {
      case REGISTER.DOR:
        return this.#dor;
      case REGISTER.TDR:
        return this.#tapeDrive;
      case REGISTER.MSR:
        return this.#mainStatus;
      case REGISTER.FIFO:
        return this.#readResult();
      default:
        return 0xff;
    }
  }

  get #mainStatus(): number {
    if ((this.#dor & DOR.NOT_RESET) === 0) return 0;
    if (this.#data.transfer) return MSR.BUSY;
    if (this.#result.length > 0) return MSR.RQM | MSR.DIO | MSR.BUSY;
    return this.#command.length > 0 ? MSR.RQM | MSR.BUSY : MSR.RQM;
  }

  #write(offset: number, value: number): void {
    if (offset === REGISTER.DOR) this.#writeOutput(value);
    else if (offset === REGISTER.TDR) this.#tapeDrive = value & 3;
    else if (offset === REGISTER.MSR) {
      this.#rate = value & DSR.RATE;
      if (value & DSR.SOFTWARE_RESET && this.#dor & DOR.NOT_RESET) {
        this.#forget();
        this.#leaveReset();
      }
    } else if (offset === REGISTER.FIFO) this.#writeCommand(value);
  }

  #writeOutput(value: number): void {
    const was = this.#dor;
    this.#dor = value;
    const [wasOn, isOn] = [(was & DOR.NOT_RESET) !== 0, (value & DOR.NOT_RESET) !== 0];
    if (wasOn && !isOn) this.#forget();
    if (!wasOn && isOn) this.#leaveReset();
    this.#driveIrq();
  }

  /** As a reset of the chip does; what CONFIGURE has set may be locked. */
  #forget(): void {
    for (const drive of this.#drives) drive.cancel();
    this.#data.transfer = undefined;
    this.#command = [];
    this.#result = [];
    this.#senses = [];
    this.#hasInterrupt = false;
    this.#perpendicular = 0;
    if (!this.#isLocked) this.#configured = [CONFIGURED, 0];
  }

  #leaveReset(): void {
    this.#senses = Array.from({ length: POLLED_DRIVES }, (_, drive) => ST0.POLLED | drive);
    this.#raise();
  }

  #readResult(): number {
    const [byte, ...rest] = this.#result;
    if (byte === undefined || (this.#dor & DOR.NOT_RESET) === 0) return 0;
    this.#result = rest;
    this.#clearInterrupt();
    return byte;
  }

  #writeCommand(value: number): void {
    if ((this.#mainStatus & (MSR.RQM | MSR.DIO)) !== MSR.RQM) return;
    this.#command.push(value);
    const bytes = commandBytes(this.#command[0]!);
    if (bytes === undefined) this.#answer(ST0.INVALID);
    else if (this.#command.length === bytes) this.#execute(this.#command);
  }

  /** A result without an interrupt, which may be empty. */
  #answer(...result: number[]): void {
    this.#command = [];
    this.#result = result;
  }

  #execute(command: readonly number[]): void {
    const [first = 0, second = 0, third = 0, fourth = 0] = command;
    const drive = this.#drives[second & DOR.SELECT];
    switch (first & 0x1f) {
      case COMMAND.SPECIFY:
        this.#specified = [second, third];
        this.#answer();
        return;
      case COMMAND.SENSE_DRIVE_STATUS:
        this.#answer(driveStatus(drive, second & 7));
        return;
      case COMMAND.RECALIBRATE:
        drive?.seek(0);
        this.#endSeek(second, drive ? ST0.SEEK_END : ST0.SEEK_END | ST0.ABNORMAL | ST0.EQUIPMENT_CHECK);
        return;
      case COMMAND.SEEK: {
        const from = first & FLAG.RELATIVE ? (drive?.cylinder ?? 0) : 0;
        drive?.seek(first & FLAG.RELATIVE && (first & FLAG.UP) === 0 ? from - third : from + third);
        this.#endSeek(second, ST0.SEEK_END);
        return;
      }
      case COMMAND.SENSE_INTERRUPT_STATUS: {
        const sense = this.#senses.shift();
        this.#clearInterrupt();
        if (sense === undefined) {
          this.#answer(ST0.INVALID);
          return;
        }
        this.#answer(sense, this.#drives[sense & DOR.SELECT]?.cylinder ?? 0);
        return;
      }
      case COMMAND.DUMPREG: {
        const cylinders = [0, 1, 2, 3].map((i) => this.#drives[i]?.cylinder ?? 0);
        const lock = (this.#isLocked ? FLAG.LOCK : 0) | this.#perpendicular;
        this.#answer(...cylinders, ...this.#specified, 0, lock, ...this.#configured);
        return;
      }
      case COMMAND.VERSION:
        this.#answer(VERSION);
        return;
      case COMMAND.PERPENDICULAR_MODE:
        this.#perpendicular = second & 0x7f;
        this.#answer();
        return;
      case COMMAND.CONFIGURE:
        this.#configured = [third, fourth];
        this.#answer();
        return;
      case COMMAND.LOCK:
        this.#isLocked = (first & FLAG.LOCK) !== 0;
        this.#answer(this.#isLocked ? 0x10 : 0);
        return;
      default:
        this.#command = [];
        this.#data.execute(command);
    }
  }

  #endSeek(second: number, status: number): void {
    this.#answer();
    const drive = second & DOR.SELECT;
    this.#senses = [...this.#senses.filter((sense) => (sense & DOR.SELECT) !== drive), status | (second & 7)];
    this.#raise();
  }

  #raise(): void {
    this.#hasInterrupt = true;
    this.#driveIrq();
  }

  #clearInterrupt(): void {
    this.#hasInterrupt = false;
    this.#driveIrq();
  }

  #driveIrq(): void {
    this.#irq.set(this.#hasInterrupt && (this.#dor & DOR.DMA_GATE) !== 0);
  }
}

/** ST3. */
function driveStatus(drive: FloppyDrive | undefined, unit: number): number {
  if (!drive) return unit;
  const protection = drive.options.isReadOnly ? ST3.WRITE_PROTECTED : 0;
  return ST3.READY | ST3.TWO_SIDED | protection | (drive.cylinder === 0 ? ST3.TRACK_0 : 0) | unit;
}

export function createFloppy(context: DeviceContext, options: FloppyOptions): FloppyController {
  return new FloppyController(context, options);
}

export function attachFloppy(
  { registers, inputRegister }: FloppyController,
  bus: IoBus,
  map: { readonly base: number; readonly input: number },
): void {
  bus.claim(map.base, REGISTER.FIFO + 1, registers, { maxSize: 1, name: "floppy controller" });
  bus.claim(map.input, 1, inputRegister, { maxSize: 1, name: "floppy input register" });
}
