/**
 * A parallel NOR flash chip with the Intel command set (JEDEC JESD68 "CFI", command set 0001h; Intel StrataFlash 28F640J3),
 * 8 bits wide, as PC firmware keeps its variables in. The host is told of what changes, on a channel of the chip's.
 *
 * A write anywhere starts a command, and reads then answer by its mode: array, status, identifiers, or the CFI query.
 * Programming clears bits and cannot set them; a block's erasure sets them all. Both are done at once. As UEFI firmware probes
 * for, the status reads 0 until something was programmed, and again after Clear Status (a real chip's ready bit is always
 * set). Left out: lock bits, suspend, protection registers.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import type { DeviceMemory } from "../memory/device-memory.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

export const FLASH_BLOCK_BYTES = 4096;
/** Of the chip; a page buffer of the StrataFlash kind. */
const WRITE_BUFFER_BYTES = 64;

export const FLASH_COMMAND = {
  PROGRAM: 0x10,
  BLOCK_ERASE: 0x20,
  PROGRAM_ALTERNATE: 0x40,
  CLEAR_STATUS: 0x50,
  LOCK_SETUP: 0x60,
  READ_STATUS: 0x70,
  READ_IDENTIFIERS: 0x90,
  READ_QUERY: 0x98,
  CONFIRM: 0xd0,
  WRITE_TO_BUFFER: 0xe8,
  READ_ARRAY: 0xff,
} as const;
export const FLASH_STATUS = { READY: 0x80, ERASE_ERROR: 0x20, PROGRAM_ERROR: 0x10 } as const;

/** What reads answer, and what the next write is. */
const MODES = [
  "array",
  "status",
  "identifiers",
  "query",
  "program",
  "erase",
  "lock",
  "buffer-count",
  "buffer-data",
  "buffer-confirm",
] as const;
type Mode = (typeof MODES)[number];

export interface CfiFlashOptions {
  readonly name: string;
  /** Whole blocks; what the chip holds when it is new. Copied. */
  readonly content: Uint8Array;
}

export class CfiFlash implements Device {
  readonly name: string;
  readonly schema = { id: "cfi-flash", version: 1 } as const;
  readonly #context: DeviceContext;
  readonly #bytes: Uint8Array;
  /** `#bytes`, where the guest can read them without an exit: while reads answer what the chip holds. */
  readonly #memory: DeviceMemory | undefined;
  readonly #query: Uint8Array;
  #start: number | undefined;
  #mode: Mode = "array";
  #status = 0;
  /** Of a buffered write: where it goes, and what came so far. */
  #bufferBlock = 0;
  #bufferLeft = 0;
  #buffer: { at: number; value: number }[] = [];

  constructor(context: DeviceContext, { name, content }: CfiFlashOptions) {
    if (content.length === 0 || content.length % FLASH_BLOCK_BYTES !== 0)
      throw new RangeError(
        `a flash chip of ${content.length} bytes; possible are whole blocks of ${FLASH_BLOCK_BYTES}`,
      );
    this.name = name;
    this.#context = context;
    this.#memory = context.deviceMemory?.(content.length, "read-only");
    this.#bytes = this.#memory?.bytes ?? new Uint8Array(content.length);
    this.#bytes.set(content);
    this.#query = queryTable(content.length);
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  /** What the chip holds now, for the host to keep. */
  get content(): Uint8Array {
    return this.#bytes.slice();
  }

  readonly registers: IoHandler = {
    read: (offset, size) => {
      let value = 0;
      for (let i = 0; i < size; i++) value |= this.#read(offset + i) << (8 * i);
      return value >>> 0;
    },
    // A wider cycle is several of the chip's.
    write: (offset: number, size: AccessSize, value: number) => {
      for (let i = 0; i < size; i++) this.#write(offset + i, (value >>> (8 * i)) & 0xff);
    },
  };

  /** Where the board has put it. */
  placedAt(start: number): void {
    this.#start = start;
    this.#setMode(this.#mode);
  }

  /** The content stays: it is what the chip is for. */
  reset(): void {
    this.#setMode("array");
    this.#status = 0;
    this.#endBuffer();
  }

  save(): StateValue {
    return {
      content: this.#bytes.slice(),
      mode: this.#mode,
      status: this.#status,
      bufferBlock: this.#bufferBlock,
      bufferLeft: this.#bufferLeft,
      bufferAt: this.#buffer.map(({ at }) => at),
      bufferValue: Uint8Array.from(this.#buffer, ({ value }) => value),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const content = reader.bytesExact("content", this.#bytes.length);
    const mode = reader.text("mode", 32) as Mode;
    if (!MODES.includes(mode)) throw reader.invalid("mode", "is no mode of a flash chip");
    const status = reader.u8("status");
    const bufferBlock = reader.int("bufferBlock", 0, this.#bytes.length - FLASH_BLOCK_BYTES);
    const bufferLeft = reader.int("bufferLeft", 0, WRITE_BUFFER_BYTES);
    const values = reader.bytes("bufferValue", WRITE_BUFFER_BYTES);
    const places = reader.ints("bufferAt", values.length, 0, this.#bytes.length - 1);
    reader.end();
    if (bufferBlock % FLASH_BLOCK_BYTES !== 0) throw reader.invalid("bufferBlock", "is no block's start");
    const isFilling = mode === "buffer-data" ? bufferLeft > 0 : bufferLeft === 0;
    const hasRoom = bufferLeft + values.length <= WRITE_BUFFER_BYTES;
    const isEmpty = values.length === 0;
    if (!isFilling || !hasRoom || (!isEmpty && mode !== "buffer-data" && mode !== "buffer-confirm"))
      throw reader.invalid("bufferLeft", "does not agree with the buffer and the mode");
    if (places.some((at) => blockOf(at) !== bufferBlock)) throw reader.invalid("bufferAt", "leaves the block");
    this.#bytes.set(content);
    this.#setMode(mode);
    this.#status = status;
    this.#bufferBlock = bufferBlock;
    this.#bufferLeft = bufferLeft;
    this.#buffer = places.map((at, i) => ({ at, value: values[i]! }));
    // The host's copy may be another machine's.
    this.#tell(0, this.#bytes.length);
  }

  #setMode(mode: Mode): void {
    this.#mode = mode;
    this.#memory?.place(mode === "array" ? this.#start : undefined);
  }

  #read(offset: number): number {
    switch (this.#mode) {
      case "array":
        return this.#bytes[offset] ?? 0xff;
      case "identifiers":
        return 0;
      case "query":
        return this.#query[offset & 0xff] ?? 0;
      default:
        return this.#status;
    }
  }

  #write(offset: number, value: number): void {
    switch (this.#mode) {
      case "program":
        this.#program(offset, value);
        this.#setMode("status");
        break;
      case "erase":
        if (value === FLASH_COMMAND.CONFIRM) this.#erase(offset);
        else this.#status |= FLASH_STATUS.READY | FLASH_STATUS.ERASE_ERROR | FLASH_STATUS.PROGRAM_ERROR;
        this.#setMode("status");
        break;
      case "lock":
        this.#status |= FLASH_STATUS.READY;
        this.#setMode("status");
        break;
      case "buffer-count":
        this.#bufferLeft = value + 1;
        this.#setMode("buffer-data");
        if (this.#bufferLeft > WRITE_BUFFER_BYTES) this.#failBuffer();
        break;
      case "buffer-data":
        if (blockOf(offset) !== this.#bufferBlock) this.#failBuffer();
        else {
          this.#buffer.push({ at: offset, value });
          if (--this.#bufferLeft === 0) this.#setMode("buffer-confirm");
        }
        break;
      case "buffer-confirm":
        if (value === FLASH_COMMAND.CONFIRM) {
          for (const { at, value: byte } of this.#buffer) this.#program(at, byte);
          this.#endBuffer();
          this.#setMode("status");
        } else this.#failBuffer();
        break;
      default:
        this.#command(offset, value);
    }
  }

  #command(offset: number, value: number): void {
    switch (value) {
      case FLASH_COMMAND.PROGRAM:
      case FLASH_COMMAND.PROGRAM_ALTERNATE:
        this.#setMode("program");
        break;
      case FLASH_COMMAND.BLOCK_ERASE:
        this.#setMode("erase");
        break;
      case FLASH_COMMAND.CLEAR_STATUS:
        this.#status = 0;
        break;
      case FLASH_COMMAND.LOCK_SETUP:
        this.#setMode("lock");
        break;
      case FLASH_COMMAND.READ_STATUS:
        this.#setMode("status");
        break;
      case FLASH_COMMAND.READ_IDENTIFIERS:
        this.#setMode("identifiers");
        break;
      case FLASH_COMMAND.READ_QUERY:
        this.#setMode("query");
        break;
      case FLASH_COMMAND.WRITE_TO_BUFFER:
        this.#status |= FLASH_STATUS.READY;
        this.#bufferBlock = blockOf(offset);
        this.#setMode("buffer-count");
        break;
      default:
        this.#setMode("array");
    }
  }

  #program(offset: number, value: number): void {
    this.#status |= FLASH_STATUS.READY;
    if (offset >= this.#bytes.length) return;
    const next = this.#bytes[offset]! & value;
    if (next === this.#bytes[offset]) return;
    this.#bytes[offset] = next;
    this.#tell(offset, 1);
  }

  #erase(offset: number): void {
    const block = blockOf(offset);
    this.#status |= FLASH_STATUS.READY;
    this.#bytes.fill(0xff, block, block + FLASH_BLOCK_BYTES);
    this.#tell(block, FLASH_BLOCK_BYTES);
  }

  #failBuffer(): void {
    this.#endBuffer();
    this.#status |= FLASH_STATUS.READY | FLASH_STATUS.PROGRAM_ERROR;
    this.#setMode("status");
  }

  #endBuffer(): void {
    this.#bufferBlock = 0;
    this.#bufferLeft = 0;
    this.#buffer = [];
  }

  /** Where (4 bytes, little-endian) and what. */
  #tell(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += FLASH_BLOCK_BYTES) {
      const part = this.#bytes.subarray(at, Math.min(at + FLASH_BLOCK_BYTES, offset + length));
      const message = new Uint8Array(FLASH_REPORT_HEADER_BYTES + part.length);
      const view = new DataView(message.buffer);
      view.setUint32(0, at, true);
      view.setUint32(4, part.length, true);
      message.set(part, FLASH_REPORT_HEADER_BYTES);
      this.#context.output(this.name, message);
    }
  }
}

/** A report on the chip's channel: where, how many bytes, and these; several may follow each other in one piece. */
export const FLASH_REPORT_HEADER_BYTES = 8;

export function createCfiFlash(context: DeviceContext, options: CfiFlashOptions): CfiFlash {
  return new CfiFlash(context, options);
}

export function attachCfiFlash(flash: CfiFlash, mmio: IoBus, start: number): void {
  mmio.claim(start, flash.sizeBytes, flash.registers, { name: flash.name });
  flash.placedAt(start);
}

const blockOf = (offset: number): number => offset - (offset % FLASH_BLOCK_BYTES);

/** JESD68: query identification, system interface, device geometry; one erase region. */
function queryTable(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(0x40);
  const view = new DataView(bytes.buffer);
  bytes.set([0x51, 0x52, 0x59], 0x10); // "QRY"
  view.setUint16(0x13, 0x0001, true);
  view.setUint16(0x15, 0x31, true);
  bytes.set([0x45, 0x55], 0x1b); // VCC 4.5 to 5.5 V
  bytes.set([0x07, 0x07, 0x0a, 0x00, 0x04, 0x04, 0x04, 0x00], 0x1f);
  bytes[0x27] = Math.ceil(Math.log2(sizeBytes));
  view.setUint16(0x2a, Math.log2(WRITE_BUFFER_BYTES), true);
  bytes[0x2c] = 1;
  view.setUint16(0x2d, sizeBytes / FLASH_BLOCK_BYTES - 1, true);
  view.setUint16(0x2f, FLASH_BLOCK_BYTES / 256, true);
  bytes.set([0x50, 0x52, 0x49, 0x31, 0x30], 0x31); // "PRI", version 1.0
  return bytes;
}
