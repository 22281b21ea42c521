/**
 * The firmware configuration device of virtual PCs, which SeaBIOS, OVMF and U-Boot take their tables and settings from
 * (QEMU's docs/specs/fw_cfg): numbered items, some of them files with a name in a directory.
 *
 *   0x510 selector, 16 bits     0x511 data, one byte of the selected item after the other; zeros behind its end
 *   0x514 DMA address register, 64 bits, big-endian: a write to its lower half carries out the request in memory there
 *
 * Left out: writes through the data port (which the specification took back), items of the host's that change.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

export const FW_CFG_KEY = { SIGNATURE: 0x00, ID: 0x01, FILE_DIR: 0x19, FILE_FIRST: 0x20 } as const;
const ID_FEATURES = { TRADITIONAL: 1, DMA: 2 } as const;
const DMA_CONTROL = { ERROR: 1, READ: 2, SKIP: 4, SELECT: 8, WRITE: 16 } as const;
const DMA_SIGNATURE = "QEMU CFG";
const DMA_REQUEST_BYTES = 16;
const NAME_BYTES = 56;
const DIRECTORY_ENTRY_BYTES = 64;
/** One request moves at most so much; the longest items are tables. */
const MAX_TRANSFER_BYTES = 16 * 2 ** 20;
const PIECE_BYTES = 64 * 1024;
const NOTHING = new Uint8Array();

export interface FwCfgFile {
  /** Printable ASCII, at most 55 characters. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The guest may write it, and is told from others by its content alone. */
  readonly isWritable?: boolean;
}

export interface FwCfgItems {
  /** Items without a name, by key; signature, identifier and directory are the device's own. */
  readonly numbered: ReadonlyMap<number, Uint8Array>;
  readonly files: readonly FwCfgFile[];
}

export class FwCfg implements Device {
  readonly name = "fw-cfg";
  readonly schema = { id: "fw-cfg", version: 1 } as const;
  readonly #context: DeviceContext;
  readonly #items: Map<number, Uint8Array>;
  /** What the guest has written, by name; at first the file's own bytes. */
  readonly #written = new Map<string, { readonly key: number; readonly initial: Uint8Array }>();
  #selector = 0;
  #offset = 0;
  #dmaHigh = 0;

  constructor(context: DeviceContext, items: FwCfgItems) {
    this.#context = context;
    this.#items = new Map(items.numbered);
    this.#items.set(FW_CFG_KEY.SIGNATURE, asciiBytes("QEMU"));
    this.#items.set(FW_CFG_KEY.ID, Uint8Array.of(ID_FEATURES.TRADITIONAL | ID_FEATURES.DMA, 0, 0, 0));
    const files = [...items.files].sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const [i, { name, bytes, isWritable }] of files.entries()) {
      const key = FW_CFG_KEY.FILE_FIRST + i;
      this.#items.set(key, bytes);
      if (isWritable) this.#written.set(name, { key, initial: bytes });
    }
    this.#items.set(FW_CFG_KEY.FILE_DIR, directoryOf(files));
    this.reset();
  }

  /** What a writable file holds now. */
  written(name: string): Uint8Array | undefined {
    const file = this.#written.get(name);
    return file && this.#items.get(file.key);
  }

  /** Ports 0x510 and 0x511. */
  readonly registers: IoHandler = {
    read: (offset, size) => (offset === 1 && size === 1 ? this.#nextByte() : 0),
    write: (offset, size, value) => {
      if (offset === 0 && size === 2) this.#select(value);
    },
  };

  /** Ports 0x514 to 0x51B. */
  readonly dmaAddress: IoHandler = {
    read: (offset, size) => {
      let value = 0;
      for (let i = 0; i < size; i++) value |= (DMA_SIGNATURE.charCodeAt(offset + i) || 0) << (8 * i);
      return value >>> 0;
    },
    write: (offset, size: AccessSize, value) => {
      if (size !== 4) return;
      if (offset === 0) this.#dmaHigh = swap32(value);
      else if (offset === 4) {
        const address = this.#dmaHigh * 2 ** 32 + swap32(value);
        this.#dmaHigh = 0;
        this.#transfer(address);
      }
    },
  };

  reset(): void {
    this.#select(0);
    this.#dmaHigh = 0;
    for (const { key, initial } of this.#written.values()) this.#items.set(key, initial.slice());
  }

  save(): StateValue {
    const written: Record<string, Uint8Array> = {};
    for (const [name, { key }] of this.#written) written[name] = this.#items.get(key)!.slice();
    return { selector: this.#selector, offset: this.#offset, dmaHigh: this.#dmaHigh, written };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const selector = reader.u16("selector");
    const offset = reader.int("offset", 0, this.#items.get(selector)?.length ?? 0);
    const dmaHigh = reader.u32("dmaHigh");
    const files = reader.object("written");
    const written = [...this.#written].map(
      ([name, { key, initial }]) => [key, files.bytesExact(name, initial.length)] as const,
    );
    files.end();
    reader.end();
    this.#selector = selector;
    this.#offset = offset;
    this.#dmaHigh = dmaHigh;
    for (const [key, bytes] of written) this.#items.set(key, bytes);
  }

  get #item(): Uint8Array {
    return this.#items.get(this.#selector) ?? NOTHING;
  }

  #select(selector: number): void {
    this.#selector = selector;
    this.#offset = 0;
  }

  #nextByte(): number {
    const item = this.#item;
    return this.#offset < item.length ? item[this.#offset++]! : 0;
  }

  /** GUEST-CONTROLLED: the request, where it lies and where it points. */
  #transfer(requestAt: number): void {
    const { memory } = this.#context;
    const request = new Uint8Array(DMA_REQUEST_BYTES);
    if (!memory.read(requestAt, request)) return;
    const view = new DataView(request.buffer);
    const control = view.getUint32(0);
    const length = view.getUint32(4);
    const address = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
    if (control & DMA_CONTROL.SELECT) this.#select(control >>> 16);
    const isDone =
      length <= MAX_TRANSFER_BYTES &&
      (control & DMA_CONTROL.READ
        ? this.#read(address, length)
        : control & DMA_CONTROL.WRITE
          ? this.#write(address, length)
          : this.#skip(length));
    const result = new Uint8Array(4);
    new DataView(result.buffer).setUint32(0, isDone ? 0 : DMA_CONTROL.ERROR);
    memory.write(requestAt, result);
  }

  #read(address: number, length: number): boolean {
    const piece = new Uint8Array(Math.min(length, PIECE_BYTES));
    for (let done = 0; done < length; ) {
      const bytes = piece.subarray(0, Math.min(piece.length, length - done)).fill(0);
      bytes.set(this.#item.subarray(this.#offset, this.#offset + bytes.length));
      this.#skip(bytes.length);
      if (!this.#context.memory.write(address + done, bytes)) return false;
      done += bytes.length;
    }
    return true;
  }

  #write(address: number, length: number): boolean {
    const item = this.#item;
    const isWritable = [...this.#written.values()].some(({ key }) => key === this.#selector);
    if (!isWritable || this.#offset + length > item.length) return false;
    if (!this.#context.memory.read(address, item.subarray(this.#offset, this.#offset + length))) return false;
    return this.#skip(length);
  }

  #skip(length: number): boolean {
    this.#offset = Math.min(this.#item.length, this.#offset + length);
    return true;
  }
}

export function createFwCfg(context: DeviceContext, items: FwCfgItems): FwCfg {
  return new FwCfg(context, items);
}

export function attachFwCfg(fwCfg: FwCfg, ports: IoBus, base: { fwCfg: number; fwCfgDma: number }): void {
  ports.claim(base.fwCfg, 2, fwCfg.registers, { maxSize: 2, name: "fw_cfg" });
  ports.claim(base.fwCfgDma, 8, fwCfg.dmaAddress, { name: "fw_cfg DMA address" });
}

function directoryOf(files: readonly FwCfgFile[]): Uint8Array {
  const bytes = new Uint8Array(4 + files.length * DIRECTORY_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, files.length);
  for (const [i, { name, bytes: content }] of files.entries()) {
    if (name.length >= NAME_BYTES) throw new RangeError(`a fw_cfg file's name is too long: ${name}`);
    const at = 4 + i * DIRECTORY_ENTRY_BYTES;
    view.setUint32(at, content.length);
    view.setUint16(at + 4, FW_CFG_KEY.FILE_FIRST + i);
    bytes.set(asciiBytes(name), at + 8);
  }
  return bytes;
}

function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function swap32(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}
