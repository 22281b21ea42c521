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
import type { DeviceMemory } from "../../memory/device-memory.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "../device.ts";
import { frameAt } from "./crt-timing.ts";
import { DISPI, Dispi } from "./dispi.ts";
import { EDID } from "./edid.ts";
import { PlanarMemory } from "./planar-memory.ts";
import { ATTR_INDEX, MISC, VGA_PORT as PORT } from "./registers.ts";
import { type RowSpan, ScreenChanges } from "./screen-changes.ts";
import type { VgaView } from "./screen-mode.ts";
import { parseSparse, saveSparse } from "./sparse-memory.ts";
import { VgaRegisters } from "./vga-registers.ts";

export const VIDEO_MEMORY_BYTES: number = 16 * 2 ** 20;
export const VGA_WINDOW = { start: 0xa_0000, sizeBytes: 0x2_0000 } as const;
export const DISPI_PORTS = { index: 0x1ce, count: 3 } as const;
/** BAR 2, as QEMU lays it out. */
const MMIO = { sizeBytes: 0x1000, vga: 0x400, vgaEnd: 0x420, dispi: 0x500, dispiEnd: 0x516, extension: 0x600 } as const;
/** What follows the display interface: its size, and the byte order of pixels, which is little-endian. */
const EXTENSION: readonly number[] = [8, 0, 0, 0, 0x1e, 0x1e, 0x1e, 0x1e];
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
  readonly #registers: VgaRegisters;
  /** `#memory`, where the guest can reach it without an exit. */
  readonly #frameBuffer: DeviceMemory | undefined;
  readonly #planes: PlanarMemory;
  readonly #dispi: Dispi;
  readonly #changes: ScreenChanges;

  constructor(context: DeviceContext, options: VgaOptions) {
    const { name, memoryBytes = VIDEO_MEMORY_BYTES } = options;
    this.name = name;
    this.#clock = context.clock;
    this.#frameBuffer = context.deviceMemory?.(memoryBytes, "read-write");
    this.#memory = this.#frameBuffer?.bytes ?? new Uint8Array(memoryBytes);
    this.#changes = new ScreenChanges(memoryBytes);
    this.#dispi = new Dispi(memoryBytes, () => void this.#memory.fill(0));
    this.#registers = new VgaRegisters(context.clock, this.#changes, () => this.#dispi.hasWideDac);
    const { sequencer, graphics } = this.#registers;
    this.#planes = new PlanarMemory(this.#memory, sequencer.values, graphics.values, (at) => this.#changes.memory(at));
    this.pci = new PciFunction({
      name,
      vendorId: 0x1234,
      deviceId: 0x1111,
      classCode: 0x03_0000,
      revisionId: 2,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
    });
    this.pci.addMemoryBar(0, memoryBytes, this.linear, {
      prefetchable: true,
      onPlaced: (base) => this.#frameBuffer?.place(base),
    });
    this.pci.addMemoryBar(2, MMIO.sizeBytes, this.registers, { maxSize: 2 });
    if (options.rom) this.pci.addRom(options.rom);
  }

  /** What the screen shows now; valid until the guest goes on. */
  get view(): VgaView {
    const { sequencer, crtc, graphics, attribute, dac, timing } = this.#registers;
    return {
      memory: this.#memory,
      sequencer: sequencer.values,
      crtc: crtc.values,
      graphics: graphics.values,
      attribute: attribute.values,
      palette: dac.palette,
      pelMask: dac.pelMask,
      hasWideDac: this.#dispi.hasWideDac,
      isPaletteOn: (attribute.index & ATTR_INDEX.ADDRESS_SOURCE) !== 0,
      dispi: this.#dispi.mode,
      frame: frameAt(timing, this.#clock.nowNs()),
    };
  }

  /** Rows that have changed since the last call. */
  takeChanges(): RowSpan[] {
    this.#frameBuffer?.takeWritten((at, bytes) => this.#changes.range(at, bytes));
    return this.#changes.take(this.view);
  }

  /** Ports 3B0H to 3DFH, bytes. */
  readonly ports: IoHandler = {
    read: (offset) => this.#registers.read(offset),
    write: (offset, _size, value) => this.#registers.write(offset, value),
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
          this.#registers.write(at - MMIO.vga + PORT.attribute, (value >>> (8 * i)) & 0xff);
      }
    },
  };

  reset(): void {
    this.pci.reset();
    this.#dispi.reset();
    this.#memory.fill(0);
    this.#planes.latches = 0;
    this.#registers.reset();
  }

  save(): StateValue {
    return {
      ...this.#registers.save(),
      pci: this.pci.save(),
      dispi: this.#dispi.save(),
      latches: this.#planes.latches >>> 0,
      memory: saveSparse(this.#memory),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const parts = [
      this.#dispi.parse(reader.object("dispi")),
      parseSparse(reader.object("memory"), this.#memory),
      this.#registers.parse(reader),
    ];
    const latches = reader.u32("latches");
    const pci = reader.part("pci");
    reader.end();
    this.pci.restore(pci, `${this.name}.pci`);
    for (const put of parts) put();
    this.#planes.latches = latches;
  }

  #writeDispi(index: number, value: number): void {
    this.#dispi.write(index, value);
    if (index !== DISPI.BANK) this.#registers.changed();
  }

  #readWindow(offset: number): number {
    if (this.#dispi.isEnabled && this.#dispi.bpp !== 4)
      return offset < 0x1_0000 ? (this.#memory[this.#dispi.bankOffset + offset] ?? 0xff) : 0xff;
    const address = this.#registers.misc & MISC.RAM_ENABLE ? this.#planes.locate(offset) : -1;
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
    const address = this.#registers.misc & MISC.RAM_ENABLE ? this.#planes.locate(offset) : -1;
    if (address >= 0) this.#planes.write(address, value, this.#planeBank);
  }

  get #planeBank(): number {
    return this.#dispi.isEnabled ? this.#dispi.bankOffset : 0;
  }

  #readRegisterByte(offset: number): number {
    if (offset < MMIO.vga) return EDID[offset] ?? 0;
    if (offset < MMIO.vgaEnd) return this.#registers.read(offset - MMIO.vga + PORT.attribute);
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
