// The services of bios.asm in TypeScript, as far as boot loaders use them: text output, a floppy drive, the memory map, a
// keyboard, the time of day. Interface: the IBM PC's BIOS interrupts; INT 15H AX=E820H: ACPI 6.5, 15.1.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Machine } from "../../../packages/core/src/index.ts";
import type { Board } from "../../../packages/core/src/machine/board-interface.ts";
import type { ClockMode } from "../../../packages/core/src/machine/spec.ts";
import { createPc, type Pc, realSegment } from "./pc.ts";

const SOURCE = fileURLToPath(new URL("bios.asm", import.meta.url));
const BIOS_AT = 0xf0000;
const SERVICE_PORT = 0x500;
const TEXT_AT = 0xb8000;
const TEXT_MODE = 3;
const COLUMNS = 80;
const ROWS = 25;
const ROW_BYTES = COLUMNS * 2;
const KIB = 1024;
const SECTOR_BYTES = 512;
const CF = 1;
const ZF = 0x40;
const IF = 0x200;
const E820_SIGNATURE = 0x534d4150;
const NOT_SUPPORTED = 0x86;

export interface BootFloppy {
  readonly image: Uint8Array;
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

export interface BiosPc extends Pc {
  /** Keys that INT 16H will give, one after the other: letters, digits, "\r", and Ctrl-letters as control characters. */
  type(text: string): void;
}

/** The registers of an interrupted program in guest memory. */
class Registers {
  readonly #machine: Machine;
  readonly #at: number;

  constructor(machine: Machine, at: number) {
    this.#machine = machine;
    this.#at = at;
  }
  #bytes(offset: number, size: number): DataView {
    const bytes = new Uint8Array(size);
    if (!this.#machine.memory.read(this.#at + offset, bytes)) throw new RangeError("a stack outside RAM");
    return new DataView(bytes.buffer);
  }
  #get(offset: number, size: 2 | 4): number {
    const view = this.#bytes(offset, size);
    return size === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
  }
  #put(offset: number, size: 2 | 4, value: number): void {
    const view = new DataView(new ArrayBuffer(size));
    if (size === 2) view.setUint16(0, value, true);
    else view.setUint32(0, value >>> 0, true);
    this.#machine.memory.write(this.#at + offset, new Uint8Array(view.buffer));
  }
  get es(): number {
    return this.#get(0, 2);
  }
  set es(value: number) {
    this.#put(0, 2, value);
  }
  get edi(): number {
    return this.#get(4, 4);
  }
  get ebx(): number {
    return this.#get(20, 4);
  }
  set ebx(value: number) {
    this.#put(20, 4, value);
  }
  get edx(): number {
    return this.#get(24, 4);
  }
  set edx(value: number) {
    this.#put(24, 4, value);
  }
  get ecx(): number {
    return this.#get(28, 4);
  }
  set ecx(value: number) {
    this.#put(28, 4, value);
  }
  get eax(): number {
    return this.#get(32, 4);
  }
  set eax(value: number) {
    this.#put(32, 4, value);
  }
  get ax(): number {
    return this.#get(32, 2);
  }
  set ax(value: number) {
    this.#put(32, 2, value);
  }
  get ah(): number {
    return this.ax >> 8;
  }
  get al(): number {
    return this.ax & 0xff;
  }
  get number(): number {
    return this.#get(36, 2) & 0xff;
  }
  flag(mask: number, on: boolean): void {
    const flags = this.#get(42, 2);
    this.#put(42, 2, on ? flags | mask : flags & ~mask);
  }
  /** The interrupt instruction runs again, with interrupts on. */
  again(): void {
    this.#put(38, 2, this.#get(38, 2) - 2);
    this.flag(IF, true);
  }
  failed(code: number): void {
    this.ax = (code << 8) | this.al;
    this.flag(CF, true);
  }
}

/** Assembles bios.asm. */
function biosImage(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-bios-"));
  try {
    const image = join(folder, "bios.bin");
    execFileSync("nasm", ["-f", "bin", "-o", image, SOURCE], { stdio: ["ignore", "ignore", "pipe"] });
    return new Uint8Array(readFileSync(image));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface BiosPcOptions {
  readonly memoryMib: number;
  readonly clock?: ClockMode;
  readonly floppy?: BootFloppy;
  /** Puts what INT 19H starts into memory and names its address. */
  load(pc: Pc): { readonly segment: number; readonly offset: number };
}

export function createBiosPc(options: BiosPcOptions): BiosPc {
  const keys: number[] = [];
  const services = (machine: Machine): ((r: Registers) => void) => {
    const memoryBytes = machine.spec.memoryBytes;
    const display = new TextDisplay(machine);
    return (r) => {
      r.flag(CF, false);
      switch (r.number) {
        case 0x10:
          display.service(r);
          return;
        case 0x11:
          r.ax = 0x0021;
          return;
        case 0x12:
          r.ax = 639;
          return;
        case 0x13:
          disk(machine, options.floppy, r);
          return;
        case 0x15:
          system(machine, memoryBytes, r);
          return;
        case 0x16:
          keyboard(keys, r);
          return;
        case 0x19: {
          const { segment, offset } = start;
          r.es = segment;
          r.ebx = offset;
          return;
        }
        case 0x1a:
          if (r.ah !== 0) {
            r.flag(CF, true);
            return;
          }
          r.ecx = ticks(machine) >>> 16;
          r.edx = ticks(machine) & 0xffff;
          r.ax = 0;
          return;
        case 0x1c:
          return;
        default:
          r.failed(NOT_SUPPORTED);
      }
    };
  };
  const wrap = (board: Board, machine: () => Machine): Board => {
    let serve: ((r: Registers) => void) | undefined;
    const writePort: Board["bus"]["writePort"] = (port, size, value) => {
      if (port === SERVICE_PORT && size === 4) {
        serve ??= services(machine());
        serve(new Registers(machine(), value));
      } else board.bus.writePort(port, size, value);
    };
    return { ...board, bus: { ...board.bus, writePort } };
  };
  const pc = createPc({ memoryMib: options.memoryMib, clock: options.clock, wrap });
  pc.write(BIOS_AT, biosImage());
  const start = options.load(pc);
  pc.start((state) => {
    state.cs = realSegment(BIOS_AT >> 4);
    state.rip = 0n;
  });
  return { ...pc, type: (text) => void keys.push(...[...text].map(keyCode)) };
}

/** Scan code and ASCII code: loaders tell Enter from Ctrl-M by the scan code. */
function keyCode(character: string): number {
  const ascii = character.charCodeAt(0);
  if (character === "\r") return 0x1c0d;
  if (ascii < 0x20) return 0x3000 | ascii;
  return 0x1e00 | ascii;
}

/** The text screen of INT 10H. */
class TextDisplay {
  readonly #machine: Machine;
  #row = 0;
  #column = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  service(r: Registers): void {
    switch (r.ah) {
      case 0x02:
        this.#row = (r.edx >> 8) & 0xff;
        this.#column = r.edx & 0xff;
        return;
      case 0x03:
        r.ecx = 0x0607;
        r.edx = (this.#row << 8) | this.#column;
        return;
      case 0x06:
        if (r.al === 0) this.#machine.memory.write(TEXT_AT, new Uint8Array(ROWS * ROW_BYTES));
        else for (let i = 0; i < r.al && i < ROWS; i++) this.#scroll();
        return;
      case 0x09:
      case 0x0a:
        this.#put(r.al);
        return;
      case 0x0e:
        this.#teletype(r.al);
        return;
      case 0x0f:
        r.ax = (COLUMNS << 8) | TEXT_MODE;
        r.ebx &= 0xffff00ff;
    }
  }

  #put(code: number): void {
    const at = TEXT_AT + Math.min(this.#row, ROWS - 1) * ROW_BYTES + Math.min(this.#column, COLUMNS - 1) * 2;
    this.#machine.memory.write(at, Uint8Array.of(code, 7));
  }

  #teletype(code: number): void {
    if (code === 0x0d) this.#column = 0;
    else if (code === 0x08) this.#column = Math.max(0, this.#column - 1);
    else if (code === 0x0a) this.#row++;
    else if (code >= 0x20) {
      this.#put(code);
      this.#column++;
    }
    if (this.#column >= COLUMNS) {
      this.#column = 0;
      this.#row++;
    }
    while (this.#row >= ROWS) {
      this.#scroll();
      this.#row--;
    }
  }

  #scroll(): void {
    const below = new Uint8Array((ROWS - 1) * ROW_BYTES);
    this.#machine.memory.read(TEXT_AT + ROW_BYTES, below);
    this.#machine.memory.write(TEXT_AT, below);
    this.#machine.memory.write(TEXT_AT + below.length, new Uint8Array(ROW_BYTES));
  }
}

/** 18.2 a second of the guest's time. */
const ticks = (machine: Machine): number => Math.floor(machine.clock.nowNs() / 54_925_000);

function disk(machine: Machine, floppy: BootFloppy | undefined, r: Registers): void {
  const drive = r.edx & 0xff;
  if (!floppy || drive !== 0) {
    r.failed(0x01);
    return;
  }
  switch (r.ah) {
    case 0x00:
      r.ax = 0;
      return;
    case 0x02: {
      const cylinder = ((r.ecx >> 8) & 0xff) | ((r.ecx & 0xc0) << 2);
      const head = (r.edx >> 8) & 0xff;
      const sector = (r.ecx & 0x3f) - 1;
      const from = ((cylinder * floppy.heads + head) * floppy.sectors + sector) * SECTOR_BYTES;
      const bytes = floppy.image.subarray(from, from + r.al * SECTOR_BYTES);
      if (sector < 0 || sector >= floppy.sectors || head >= floppy.heads || bytes.length === 0) {
        r.failed(0x04);
        return;
      }
      machine.memory.write(r.es * 16 + (r.ebx & 0xffff), bytes);
      r.ax = bytes.length / SECTOR_BYTES;
      return;
    }
    case 0x08:
      r.ax = 0;
      r.ebx = 4;
      r.ecx = ((floppy.cylinders - 1) << 8) | floppy.sectors;
      r.edx = ((floppy.heads - 1) << 8) | 1;
      return;
    case 0x15:
      r.ax = 0x0100;
      return;
    default:
      r.failed(0x01);
  }
}

function system(machine: Machine, memoryBytes: number, r: Registers): void {
  const extendedKib = memoryBytes / KIB - KIB;
  if (r.ax === 0xe820) {
    const map = [
      [0, 639 * KIB, 1],
      [639 * KIB, KIB, 2],
      [BIOS_AT, 64 * KIB, 2],
      [1024 * KIB, extendedKib * KIB, 1],
    ] as const;
    const entry = map[r.ebx];
    if (!entry) {
      r.failed(NOT_SUPPORTED);
      return;
    }
    const view = new DataView(new ArrayBuffer(20));
    view.setBigUint64(0, BigInt(entry[0]), true);
    view.setBigUint64(8, BigInt(entry[1]), true);
    view.setUint32(16, entry[2], true);
    machine.memory.write(r.es * 16 + (r.edi & 0xffff), new Uint8Array(view.buffer));
    r.eax = E820_SIGNATURE;
    r.ecx = 20;
    r.ebx = r.ebx + 1 < map.length ? r.ebx + 1 : 0;
  } else if (r.ax === 0xe801) {
    r.eax = Math.min(extendedKib, 15 * KIB);
    r.ebx = Math.max(0, extendedKib - 15 * KIB) / 64;
    r.ecx = r.eax;
    r.edx = r.ebx;
  } else if (r.ah === 0x88) r.ax = Math.min(extendedKib, 0xffff);
  else if (r.ah === 0x24) r.ax = r.al === 2 ? 1 : 0;
  else r.failed(NOT_SUPPORTED);
}

function keyboard(keys: number[], r: Registers): void {
  const [key] = keys;
  switch (r.ah & 0xef) {
    case 0x00:
      if (key === undefined) {
        r.again();
        return;
      }
      keys.shift();
      r.ax = key;
      return;
    case 0x01:
      r.flag(ZF, key === undefined);
      if (key !== undefined) r.ax = key;
      return;
    case 0x02:
      r.ax &= 0xff00;
      return;
    default:
      r.failed(NOT_SUPPORTED);
  }
}
