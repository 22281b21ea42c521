/**
 * A VGA with the Bochs display interface, as QEMU's standard VGA (PCI 1234:1111) is: the registers of IBM's VGA, its window
 * at A0000H, a linear frame buffer of 16 MiB (BAR 0), and registers in memory (BAR 2: EDID, VGA ports, display interface).
 * SeaBIOS's VGA BIOS, OVMF's and Linux's drivers for that card drive it. What it shows is a pure function of its state:
 * screen-mode.ts, render.ts, screen-text.ts.
 *
 * Left out: interrupts (no driver of this card uses one), the feature connector, the light pen.
 */
import type { AccessSize, IoBus, IoHandler } from "../../bus/io.ts";
import { PciFunction } from "../../bus/pci/function.ts";
import type { Clock } from "../../machine/clock.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "../device.ts";
import { frameAt, status1, type Timing, timingOf } from "./crt-timing.ts";
import { Dac } from "./dac.ts";
import { DISPI, Dispi } from "./dispi.ts";
import { EDID } from "./edid.ts";
import { IndexedRegisters } from "./indexed-registers.ts";
import { PlanarMemory } from "./planar-memory.ts";
import {
  ATTR,
  ATTR_INDEX,
  CRTC,
  GFX,
  MISC,
  OVERFLOW_LINE_COMPARE,
  VGA_PORT as PORT,
  PROTECT,
  SEQ,
} from "./registers.ts";
import { type RowSpan, ScreenChanges } from "./screen-changes.ts";
import { planeAddress, type VgaView } from "./screen-mode.ts";
import { parseSparse, saveSparse } from "./sparse-memory.ts";

export const VIDEO_MEMORY_BYTES: number = 16 * 2 ** 20;
export const VGA_WINDOW = { start: 0xa_0000, sizeBytes: 0x2_0000 } as const;
export const DISPI_PORTS = { index: 0x1ce, count: 3 } as const;
/** BAR 2, as QEMU lays it out. */
const MMIO = { sizeBytes: 0x1000, vga: 0x400, vgaEnd: 0x420, dispi: 0x500, dispiEnd: 0x516, extension: 0x600 } as const;
/** What follows the display interface: its size, and the byte order of pixels, which is little-endian. */
const EXTENSION: readonly number[] = [8, 0, 0, 0, 0x1e, 0x1e, 0x1e, 0x1e];
/** Input status 0: a colour monitor is there. */
const STATUS_0 = 0x10;

const SEQUENCER_MASKS = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
const GRAPHICS_MASKS = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
const CRTC_MASKS: readonly number[] = Array.from({ length: CRTC.count }, () => 0xff);
const ATTRIBUTE_MASKS: readonly number[] = [...Array.from({ length: 16 }, () => 0x3f), 0xef, 0xff, 0x3f, 0x0f, 0x0f];

export interface VgaOptions {
  readonly name: string;
  /** Default: 16 MiB. A power of two, at least 256 KiB. */
  readonly memoryBytes?: number;
  /** The VGA BIOS, for the expansion ROM. */
  readonly rom?: Uint8Array;
}

export class Vga implements Device {
  readonly name: string;
  readonly schema = { id: "vga-bochs", version: 1 } as const;
  readonly pci: PciFunction;
  readonly #clock: Clock;
  readonly #memory: Uint8Array;
  readonly #sequencer = new IndexedRegisters(SEQUENCER_MASKS, 0x07);
  readonly #graphics = new IndexedRegisters(GRAPHICS_MASKS, 0x0f);
  readonly #crtc = new IndexedRegisters(CRTC_MASKS, 0x3f);
  readonly #attribute = new IndexedRegisters(ATTRIBUTE_MASKS, 0xff);
  readonly #dac = new Dac();
  readonly #planes: PlanarMemory;
  readonly #dispi: Dispi;
  readonly #changes: ScreenChanges;
  #misc = 0;
  #feature = 0;
  /** The attribute controller's port takes an index next. */
  #isIndexNext = true;
  #timing: Timing | undefined;

  constructor(context: DeviceContext, options: VgaOptions) {
    const { name, memoryBytes = VIDEO_MEMORY_BYTES } = options;
    this.name = name;
    this.#clock = context.clock;
    this.#memory = new Uint8Array(memoryBytes);
    this.#changes = new ScreenChanges(memoryBytes);
    this.#planes = new PlanarMemory(this.#memory, this.#sequencer.values, this.#graphics.values, (at) =>
      this.#changes.memory(at),
    );
    this.#dispi = new Dispi(memoryBytes, () => void this.#memory.fill(0));
    this.pci = new PciFunction({
      name,
      vendorId: 0x1234,
      deviceId: 0x1111,
      classCode: 0x03_0000,
      revisionId: 2,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
    });
    this.pci.addMemoryBar(0, memoryBytes, this.linear, { prefetchable: true });
    this.pci.addMemoryBar(2, MMIO.sizeBytes, this.registers, { maxSize: 2 });
    if (options.rom) this.pci.addRom(options.rom);
  }

  /** What the screen shows now; valid until the guest goes on. */
  get view(): VgaView {
    return {
      memory: this.#memory,
      sequencer: this.#sequencer.values,
      crtc: this.#crtc.values,
      graphics: this.#graphics.values,
      attribute: this.#attribute.values,
      palette: this.#dac.palette,
      pelMask: this.#dac.pelMask,
      hasWideDac: this.#dispi.hasWideDac,
      isPaletteOn: (this.#attribute.index & ATTR_INDEX.ADDRESS_SOURCE) !== 0,
      dispi: this.#dispi.mode,
      frame: frameAt(this.#timingNow, this.#clock.nowNs()),
    };
  }

  /** Rows that have changed since the last call. */
  takeChanges(): RowSpan[] {
    return this.#changes.take(this.view);
  }

  /** Ports 3B0H to 3DFH, bytes. */
  readonly ports: IoHandler = {
    read: (offset) => this.#readPort(offset),
    write: (offset, _size, value) => this.#writePort(offset, value),
  };

  /** Ports 1CEH (index), 1CFH and 1D0H (data), words. */
  readonly dispiPorts: IoHandler = {
    read: (offset, size) => {
      if (size !== 2) return -1;
      return offset === 0 ? this.#dispi.index : this.#dispi.read(this.#dispi.index);
    },
    write: (offset, size, value) => {
      if (size !== 2) return;
      if (offset === 0) this.#dispi.index = value;
      else this.#writeDispi(this.#dispi.index, value);
    },
  };

  /** A0000H to BFFFFH. */
  readonly window: IoHandler = {
    read: (offset, size) => {
      let value = 0;
      for (let i = 0; i < size; i++) value |= this.#readWindow(offset + i) << (8 * i);
      return value;
    },
    write: (offset, size, value) => {
      for (let i = 0; i < size; i++) this.#writeWindow(offset + i, (value >>> (8 * i)) & 0xff);
    },
  };

  /** BAR 0. */
  readonly linear: IoHandler = {
    read: (offset, size) => {
      const memory = this.#memory;
      let value = 0;
      for (let i = 0; i < size; i++) value |= (memory[offset + i] ?? 0xff) << (8 * i);
      return value;
    },
    write: (offset, size, value) => {
      const memory = this.#memory;
      for (let i = 0; i < size; i++) memory[offset + i] = value >>> (8 * i);
      this.#changes.memory(offset);
      this.#changes.memory(offset + size - 1);
    },
  };

  /** BAR 2. */
  readonly registers: IoHandler = {
    read: (offset, size) => {
      if (offset >= MMIO.dispi && offset < MMIO.dispiEnd && size === 2 && offset % 2 === 0)
        return this.#dispi.read((offset - MMIO.dispi) / 2);
      let value = 0;
      for (let i = 0; i < size; i++) value |= this.#readRegisterByte(offset + i) << (8 * i);
      return value;
    },
    write: (offset, size, value) => {
      if (offset >= MMIO.dispi && offset < MMIO.dispiEnd && size === 2 && offset % 2 === 0)
        this.#writeDispi((offset - MMIO.dispi) / 2, value);
      for (let i = 0; i < size; i++) {
        const at = offset + i;
        if (at >= MMIO.vga && at < MMIO.vgaEnd)
          this.#writePort(at - MMIO.vga + PORT.attribute, (value >>> (8 * i)) & 0xff);
      }
    },
  };

  reset(): void {
    this.pci.reset();
    for (const bank of [this.#sequencer, this.#graphics, this.#crtc, this.#attribute]) bank.reset();
    this.#dac.reset();
    this.#dispi.reset();
    this.#memory.fill(0);
    this.#planes.latches = 0;
    this.#misc = 0;
    this.#feature = 0;
    this.#isIndexNext = true;
    this.#changed();
  }

  save(): StateValue {
    return {
      pci: this.pci.save(),
      sequencer: this.#sequencer.save(),
      graphics: this.#graphics.save(),
      crtc: this.#crtc.save(),
      attribute: this.#attribute.save(),
      dac: this.#dac.save(),
      dispi: this.#dispi.save(),
      latches: this.#planes.latches >>> 0,
      misc: this.#misc,
      feature: this.#feature,
      isIndexNext: this.#isIndexNext,
      memory: saveSparse(this.#memory),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const parts = [
      this.#sequencer.parse(reader.object("sequencer")),
      this.#graphics.parse(reader.object("graphics")),
      this.#crtc.parse(reader.object("crtc")),
      this.#attribute.parse(reader.object("attribute")),
      this.#dac.parse(reader.object("dac")),
      this.#dispi.parse(reader.object("dispi")),
      parseSparse(reader.object("memory"), this.#memory),
    ];
    const latches = reader.u32("latches");
    const misc = reader.u8("misc");
    const feature = reader.u8("feature");
    const isIndexNext = reader.bool("isIndexNext");
    const pci = reader.part("pci");
    reader.end();
    this.pci.restore(pci, `${this.name}.pci`);
    for (const put of parts) put();
    this.#planes.latches = latches;
    this.#misc = misc;
    this.#feature = feature;
    this.#isIndexNext = isIndexNext;
    this.#changed();
  }

  get #timingNow(): Timing {
    this.#timing ??= timingOf(this.#crtc.values, this.#sequencer.values[SEQ.CLOCKING]!, this.#misc);
    return this.#timing;
  }

  /** The picture may be another one altogether. */
  #changed(): void {
    this.#timing = undefined;
    this.#changes.everything();
  }

  #readPort(offset: number): number {
    const isColor = (this.#misc & MISC.COLOR_IO) !== 0;
    switch (offset) {
      case PORT.attribute:
        return this.#attribute.index;
      case PORT.attributeRead:
        return this.#attribute.values[this.#attribute.index & ATTR_INDEX.REGISTER] ?? 0;
      case PORT.misc:
        return STATUS_0;
      case PORT.videoEnable:
        return 1;
      case PORT.sequencer:
        return this.#sequencer.index;
      case PORT.sequencer + 1:
        return this.#sequencer.read();
      case PORT.pelMask:
        return this.#dac.pelMask;
      case PORT.dacReadIndex:
        return this.#dac.state;
      case PORT.dacWriteIndex:
        return this.#dac.writeIndex;
      case PORT.dacData:
        return this.#dac.read();
      case PORT.featureRead:
        return this.#feature;
      case PORT.miscRead:
        return this.#misc;
      case PORT.graphics:
        return this.#graphics.index;
      case PORT.graphics + 1:
        return this.#graphics.read();
      case PORT.monoCrtc:
      case PORT.colorCrtc:
        return isColor === (offset === PORT.colorCrtc) ? this.#crtc.index : 0xff;
      case PORT.monoCrtc + 1:
      case PORT.colorCrtc + 1:
        return isColor === (offset === PORT.colorCrtc + 1) ? this.#crtc.read() : 0xff;
      case PORT.monoStatus:
      case PORT.colorStatus:
        if (isColor !== (offset === PORT.colorStatus)) return 0xff;
        this.#isIndexNext = true;
        return status1(this.#timingNow, this.#clock.nowNs());
      default:
        return 0xff;
    }
  }

  #writePort(offset: number, value: number): void {
    const isColor = (this.#misc & MISC.COLOR_IO) !== 0;
    switch (offset) {
      case PORT.attribute:
        this.#writeAttribute(value);
        break;
      case PORT.misc:
        this.#misc = value;
        this.#changed();
        break;
      case PORT.sequencer:
        this.#sequencer.select(value);
        break;
      case PORT.sequencer + 1:
        this.#sequencer.write(value);
        if (this.#sequencer.index !== SEQ.MAP_MASK && this.#sequencer.index !== SEQ.MEMORY_MODE) this.#changed();
        break;
      case PORT.pelMask:
        this.#dac.pelMask = value;
        this.#changes.everything();
        break;
      case PORT.dacReadIndex:
        this.#dac.selectRead(value);
        break;
      case PORT.dacWriteIndex:
        this.#dac.selectWrite(value);
        break;
      case PORT.dacData:
        this.#dac.write(value, this.#dispi.hasWideDac);
        this.#changes.everything();
        break;
      case PORT.graphics:
        this.#graphics.select(value);
        break;
      case PORT.graphics + 1:
        this.#graphics.write(value);
        if (this.#graphics.index === GFX.MODE || this.#graphics.index === GFX.MISC) this.#changed();
        break;
      case PORT.monoCrtc:
      case PORT.colorCrtc:
        if (isColor === (offset === PORT.colorCrtc)) this.#crtc.select(value);
        break;
      case PORT.monoCrtc + 1:
      case PORT.colorCrtc + 1:
        if (isColor === (offset === PORT.colorCrtc + 1)) this.#writeCrtc(value);
        break;
      case PORT.monoStatus:
      case PORT.colorStatus:
        if (isColor === (offset === PORT.colorStatus)) this.#feature = value;
        break;
      default: // Nothing is there, or it cannot be written.
    }
  }

  #writeAttribute(value: number): void {
    if (this.#isIndexNext) {
      const wasOn = this.#attribute.index & ATTR_INDEX.ADDRESS_SOURCE;
      this.#attribute.index = value & (ATTR_INDEX.REGISTER | ATTR_INDEX.ADDRESS_SOURCE);
      if (wasOn !== (value & ATTR_INDEX.ADDRESS_SOURCE)) this.#changes.everything();
    } else {
      const index = this.#attribute.index & ATTR_INDEX.REGISTER;
      if (index < ATTR.count) {
        this.#attribute.values[index] = value & ATTRIBUTE_MASKS[index]!;
        this.#changes.everything();
      }
    }
    this.#isIndexNext = !this.#isIndexNext;
  }

  #writeCrtc(value: number): void {
    const { index, values } = this.#crtc;
    if (values[CRTC.RETRACE_END]! & PROTECT && index <= CRTC.OVERFLOW) {
      if (index === CRTC.OVERFLOW) this.#crtc.write(value, ~OVERFLOW_LINE_COMPARE & 0xff);
    } else if (
      index >= CRTC.CURSOR_START &&
      index <= CRTC.CURSOR_LOW &&
      index !== CRTC.START_HIGH &&
      index !== CRTC.START_LOW
    ) {
      this.#touchCursor();
      this.#crtc.write(value);
      this.#touchCursor();
      return;
    } else this.#crtc.write(value);
    this.#changed();
  }

  #touchCursor(): void {
    const { values } = this.#crtc;
    this.#changes.memory(planeAddress(values, (values[CRTC.CURSOR_HIGH]! << 8) | values[CRTC.CURSOR_LOW]!, 0) * 4);
  }

  #writeDispi(index: number, value: number): void {
    this.#dispi.write(index, value);
    if (index !== DISPI.BANK) this.#changed();
  }

  #readWindow(offset: number): number {
    if (this.#dispi.isEnabled && this.#dispi.bpp !== 4)
      return offset < 0x1_0000 ? (this.#memory[this.#dispi.bankOffset + offset] ?? 0xff) : 0xff;
    const address = this.#misc & MISC.RAM_ENABLE ? this.#planes.locate(offset) : -1;
    return address < 0 ? 0xff : this.#planes.read(address, this.#planeBank);
  }

  #writeWindow(offset: number, value: number): void {
    if (this.#dispi.isEnabled && this.#dispi.bpp !== 4) {
      const at = this.#dispi.bankOffset + offset;
      if (offset >= 0x1_0000 || at >= this.#memory.length) return;
      this.#memory[at] = value;
      this.#changes.memory(at);
      return;
    }
    const address = this.#misc & MISC.RAM_ENABLE ? this.#planes.locate(offset) : -1;
    if (address >= 0) this.#planes.write(address, value, this.#planeBank);
  }

  get #planeBank(): number {
    return this.#dispi.isEnabled ? this.#dispi.bankOffset : 0;
  }

  #readRegisterByte(offset: number): number {
    if (offset < MMIO.vga) return EDID[offset] ?? 0;
    if (offset < MMIO.vgaEnd) return this.#readPort(offset - MMIO.vga + PORT.attribute);
    if (offset >= MMIO.dispi && offset < MMIO.dispiEnd) {
      const value = this.#dispi.read((offset - MMIO.dispi) >> 1);
      return (value >> (8 * (offset & 1))) & 0xff;
    }
    return EXTENSION[offset - MMIO.extension] ?? 0;
  }
}

export function createVga(context: DeviceContext, options: VgaOptions): Vga {
  return new Vga(context, options);
}

/** Claims the legacy ports and the window below 1 MiB; the PCI function is plugged in by the board. */
export function attachVga(vga: Vga, ports: IoBus, mmio: IoBus): void {
  const claim = (offset: number, count: number): void => {
    const part: IoHandler = {
      read: (at: number, size: AccessSize) => vga.ports.read(offset + at, size),
      write: (at: number, size: AccessSize, value: number) => vga.ports.write(offset + at, size, value),
    };
    ports.claim(PORT.base + offset, count, part, { maxSize: 1, name: vga.name });
  };
  claim(PORT.monoCrtc, 2);
  claim(PORT.monoStatus, 1);
  claim(PORT.attribute, 16);
  claim(PORT.colorCrtc, 2);
  claim(PORT.colorStatus, 1);
  ports.claim(DISPI_PORTS.index, DISPI_PORTS.count, vga.dispiPorts, { maxSize: 2, name: vga.name });
  mmio.claim(VGA_WINDOW.start, VGA_WINDOW.sizeBytes, vga.window, { name: vga.name });
}
