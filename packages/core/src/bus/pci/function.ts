/**
 * One PCI function: type 0 header, base address registers, capabilities, MSI, MSI-X and the INTx pin (PCI Local Bus 3.0,
 * chapter 6). A device model builds its function, keeps it, and calls its reset, save and restore from its own; the
 * board plugs it into a PciBus (bus.ts), which gives it addresses and interrupts. Before that, interrupts vanish.
 *
 *   const pci = new PciFunction({ vendorId: 0x1af4, deviceId: 0x1044, ... });
 *   pci.addMemoryBar(4, 0x4000, registers, { wide: true });
 *   const msix = pci.addMsix(1, 2);
 *   pci.addCapability(CAPABILITY_ID.VENDOR_SPECIFIC, body);
 *
 * Left out: bridges (type 1), power management, MSI with several messages, the PCI Express capability.
 */
import type { IrqLine, StateValue } from "../../devices/device.ts";
import type { StateError } from "../../state/errors.ts";
import { StateReader } from "../../state/reader.ts";
import type { AccessSize, IoHandler } from "../io.ts";
import { type MsiSink, UNCONNECTED } from "../irq.ts";
import { CAPABILITY_ID, COMMAND, CONFIG, ConfigSpace, STATUS } from "./config-space.ts";
import { MSIX_BAR_BYTES, MSIX_PBA_OFFSET, Msix } from "./msix.ts";

export interface PciIdentity {
  /** Unique on the board, for listings and errors; usually the device's name. */
  readonly name: string;
  readonly vendorId: number;
  readonly deviceId: number;
  /** Class code: base class, subclass and programming interface, e.g. 0x020000 for an ethernet controller. */
  readonly classCode: number;
  readonly revisionId?: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** 1 to 4 for INTA# to INTD#, 0 (the default) for a function without an interrupt pin. */
  readonly interruptPin?: 0 | 1 | 2 | 3 | 4;
}

/** An address range that a function decodes: one BAR, or a fixed window such as the LPC bridge's PMBASE. */
export interface PciWindow {
  readonly name: string;
  readonly space: "io" | "memory";
  readonly sizeBytes: number;
  readonly handler: IoHandler;
  readonly maxSize?: AccessSize;
  /** Told where the window is reached from here on, as nothing else is there; undefined: nowhere. */
  readonly onPlaced?: ((base: number | undefined) => void) | undefined;
  /** Where it is decoded now; undefined while it is not. */
  base(): number | undefined;
}

export interface PciBar extends PciWindow {
  readonly index: number;
  /** A 64-bit BAR, which takes the next index too. */
  readonly wide: boolean;
}

/** What a function gets when it is plugged in. */
export interface PciConnection {
  readonly msi: MsiSink;
  readonly intx: IrqLine;
  /** The function decodes other addresses now. */
  decodeChanged(): void;
}

export interface CapabilityOptions {
  /** Bits of the body that the guest may change. Default: none. */
  readonly writable?: Uint8Array;
  /** Before a configuration read that touches the body: the place to refresh `bytes`. Offsets count from the body. */
  readonly beforeRead?: (offset: number, size: number) => void;
  readonly afterWrite?: (offset: number, size: number) => void;
}

export interface Capability {
  /** Of the identifier, from the start of configuration space. */
  readonly offset: number;
  /** The live body, after identifier and next pointer. */
  readonly bytes: Uint8Array;
}

/** One message (6.8). */
export interface MsiCapability {
  /** Sends it, where the guest has enabled it. */
  send(): void;
}

/** Body offsets, after identifier and next pointer. */
const MSI = { control: 0, address: 2, addressHigh: 6, data: 10, sizeBytes: 12 } as const;
const MSI_CONTROL = { ENABLE: 1, WIDE: 0x80 } as const;

interface WatchedCapability extends CapabilityOptions {
  readonly start: number;
  readonly end: number;
}

const UNPLUGGED: PciConnection = { msi: () => {}, intx: UNCONNECTED, decodeChanged: () => {} };
const DECODING = COMMAND.IO_SPACE | COMMAND.MEMORY_SPACE;
const BAR_COUNT = 6;
const ROM_ENABLE = 1;
const MAX_ROM_BYTES = 2 ** 20;

export class PciFunction {
  readonly identity: PciIdentity;
  readonly config: ConfigSpace = new ConfigSpace();
  readonly bars: PciBar[] = [];
  readonly #fixedWindows: PciWindow[] = [];
  #configChanged: () => void = () => {};
  readonly #watched: WatchedCapability[] = [];
  #connection: PciConnection = UNPLUGGED;
  #msix: Msix | undefined;
  #msixControlOffset = 0;
  #msi: Capability | undefined;
  #interrupt = false;
  #intxLevel = false;

  constructor(identity: PciIdentity) {
    this.identity = identity;
    const { config } = this;
    config.define(CONFIG.VENDOR_ID, 2, identity.vendorId);
    config.define(CONFIG.DEVICE_ID, 2, identity.deviceId);
    config.define(
      CONFIG.COMMAND,
      2,
      0,
      DECODING | COMMAND.BUS_MASTER | COMMAND.PARITY_ERROR_RESPONSE | COMMAND.SERR_ENABLE | COMMAND.INTERRUPT_DISABLE,
    );
    config.define(CONFIG.REVISION_ID, 1, identity.revisionId ?? 0);
    config.define(CONFIG.PROG_IF, 1, identity.classCode);
    config.define(CONFIG.SUBCLASS, 2, identity.classCode >>> 8);
    config.define(CONFIG.SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendorId ?? 0);
    config.define(CONFIG.SUBSYSTEM_ID, 2, identity.subsystemId ?? 0);
    config.define(CONFIG.INTERRUPT_PIN, 1, identity.interruptPin ?? 0);
    config.define(CONFIG.INTERRUPT_LINE, 1, 0, identity.interruptPin ? 0xff : 0);
  }

  /** The INTx pin as the device drives it: level `true` asserts. Held back while the guest disables it or uses MSI or MSI-X. */
  readonly intx: IrqLine = {
    set: (level) => {
      this.#interrupt = level;
      this.#driveIntx();
    },
  };

  get msix(): Msix | undefined {
    return this.#msix;
  }

  /** The guest allows this function to access memory: DMA, and MSI-X messages. */
  get isBusMaster(): boolean {
    return (this.config.read(CONFIG.COMMAND, 2) & COMMAND.BUS_MASTER) !== 0;
  }

  /** Adds a memory BAR; `wide` makes it 64-bit. `sizeBytes` is a power of two, at least 4096 in practice. */
  addMemoryBar(
    index: number,
    sizeBytes: number,
    handler: IoHandler,
    options: {
      wide?: boolean;
      prefetchable?: boolean;
      maxSize?: AccessSize;
      onPlaced?: (base: number | undefined) => void;
    } = {},
  ): PciBar {
    const wide = options.wide ?? false;
    if (!isPowerOfTwo(sizeBytes, 16)) throw new RangeError(`a memory BAR of ${sizeBytes} bytes`);
    if (index < 0 || index + (wide ? 1 : 0) >= BAR_COUNT) throw new RangeError(`no BAR ${index}`);
    const type = (wide ? 0b100 : 0) | (options.prefetchable ? 0b1000 : 0);
    this.config.define(CONFIG.BAR0 + 4 * index, 4, type, sizeBytes > 0x8000_0000 ? 0 : -sizeBytes);
    if (wide) this.config.define(CONFIG.BAR0 + 4 * index + 4, 4, 0, -Math.max(1, sizeBytes / 2 ** 32));
    const { maxSize, onPlaced } = options;
    return this.#addBar({ index, wide, space: "memory", sizeBytes, handler, maxSize, onPlaced });
  }

  /** Adds an I/O BAR of at most 256 ports. */
  addIoBar(index: number, sizeBytes: number, handler: IoHandler, options: { maxSize?: AccessSize } = {}): PciBar {
    if (!isPowerOfTwo(sizeBytes, 4) || sizeBytes > 256) throw new RangeError(`an I/O BAR of ${sizeBytes} ports`);
    if (index < 0 || index >= BAR_COUNT) throw new RangeError(`no BAR ${index}`);
    // All 32 bits, as firmware takes the size from them; there are no ports beyond 64 Ki.
    this.config.define(CONFIG.BAR0 + 4 * index, 4, 1, -sizeBytes);
    return this.#addBar({ index, wide: false, space: "io", sizeBytes, handler, maxSize: options.maxSize });
  }

  /** Adds the expansion ROM, whose register has an enable bit of its own; its window is a power of two, the rest reads as ones. */
  addRom(bytes: Uint8Array): void {
    const sizeBytes = 2 ** Math.max(11, Math.ceil(Math.log2(Math.max(1, bytes.length))));
    if (sizeBytes > MAX_ROM_BYTES) throw new RangeError(`an expansion ROM of ${bytes.length} bytes`);
    this.config.define(CONFIG.EXPANSION_ROM, 4, 0, -sizeBytes | ROM_ENABLE);
    const handler: IoHandler = {
      read: (offset, size) => {
        let value = 0;
        for (let i = 0; i < size; i++) value |= (bytes[offset + i] ?? 0xff) << (8 * i);
        return value;
      },
      write: () => {},
    };
    const base = (): number | undefined => {
      const register = this.config.read(CONFIG.EXPANSION_ROM, 4);
      const isOn = (register & ROM_ENABLE) !== 0 && this.config.read(CONFIG.COMMAND, 2) & COMMAND.MEMORY_SPACE;
      const address = (register & -sizeBytes) >>> 0;
      return isOn && address !== 0 ? address : undefined;
    };
    this.addFixedWindow({ name: `${this.identity.name} ROM`, space: "memory", sizeBytes, handler, base });
  }

  /** Adds MSI-X with its table and pending bits in a 4 KiB memory BAR of their own. */
  addMsix(barIndex: number, vectors: number): Msix {
    const msix = new Msix(vectors, (message) => {
      if (this.isBusMaster) this.#connection.msi(message);
    });
    this.addMemoryBar(barIndex, MSIX_BAR_BYTES, msix);
    const body = new Uint8Array(10);
    const view = new DataView(body.buffer);
    view.setUint16(0, vectors - 1, true);
    view.setUint32(2, barIndex, true);
    view.setUint32(6, MSIX_PBA_OFFSET | barIndex, true);
    const writable = new Uint8Array(10);
    writable[1] = 0xc0;
    const { offset } = this.addCapability(CAPABILITY_ID.MSIX, body, {
      writable,
      afterWrite: () => this.#msixChanged(),
    });
    this.#msixControlOffset = offset + 2;
    this.#msix = msix;
    return msix;
  }

  /** Adds MSI with one message and a 64-bit address. */
  addMsi(): MsiCapability {
    const body = new Uint8Array(MSI.sizeBytes);
    body[MSI.control] = MSI_CONTROL.WIDE;
    const writable = new Uint8Array(MSI.sizeBytes).fill(0xff, MSI.address);
    writable[MSI.control] = MSI_CONTROL.ENABLE;
    writable[MSI.address] = 0xfc;
    const capability = this.addCapability(CAPABILITY_ID.MSI, body, { writable });
    this.#msi = capability;
    const { bytes } = capability;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return {
      send: () => {
        if (!this.#hasMsi || !this.isBusMaster) return;
        this.#connection.msi({
          address: view.getUint32(MSI.address, true),
          addressHigh: view.getUint32(MSI.addressHigh, true),
          data: view.getUint16(MSI.data, true),
        });
      },
    };
  }

  get #hasMsi(): boolean {
    return ((this.#msi?.bytes[MSI.control] ?? 0) & MSI_CONTROL.ENABLE) !== 0;
  }

  /** Adds a window that is not a BAR: its place follows from registers of the function's own. */
  addFixedWindow(window: PciWindow): void {
    this.#fixedWindows.push(window);
  }

  /** Everything this function may decode, in order of precedence. */
  get windows(): readonly PciWindow[] {
    return [...this.#fixedWindows, ...this.bars];
  }

  /** Calls back after each change of configuration space: guest's write, reset, restore. One listener. */
  onConfigChange(listener: () => void): void {
    this.#configChanged = listener;
  }

  addCapability(id: number, body: Uint8Array, options: CapabilityOptions = {}): Capability {
    const offset = this.config.addCapability(id, body, options.writable);
    const start = offset + 2;
    if (options.beforeRead || options.afterWrite) {
      this.#watched.push({ ...options, start, end: start + body.length });
    }
    return { offset, bytes: this.config.bytes.subarray(start, start + body.length) };
  }

  /** The guest reads configuration space. Any offset and size. */
  readConfig(offset: number, size: AccessSize): number {
    for (const part of this.#watched) {
      if (offset < part.end && offset + size > part.start) part.beforeRead?.(offset - part.start, size);
    }
    return this.config.read(offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    const before = this.#decodes();
    this.config.write(offset, size, value);
    for (const part of this.#watched) {
      if (offset < part.end && offset + size > part.start) part.afterWrite?.(offset - part.start, size);
    }
    this.#driveIntx();
    this.#configChanged();
    if (this.#decodes() !== before) this.#connection.decodeChanged();
  }

  /** Called by PciBus; undefined unplugs. */
  connect(connection: PciConnection | undefined): void {
    this.#connection = connection ?? UNPLUGGED;
    this.#intxLevel = false;
    this.#driveIntx();
  }

  reset(): void {
    this.config.reset();
    this.#msix?.reset();
    this.#interrupt = false;
    this.#driveIntx();
    this.#configChanged();
    this.#connection.decodeChanged();
  }

  save(): StateValue {
    return {
      config: this.config.bytes.slice(),
      interrupt: this.#interrupt,
      msix: this.#msix?.save() ?? null,
    };
  }

  /** Puts back what `save` returned. Throws StateError; the function is then reset. */
  restore(state: StateValue, path: string): void {
    this.reset();
    try {
      const reader = new StateReader(state, path);
      const config = reader.bytesExact("config", this.config.bytes.length);
      // The interrupt bit of the status register is the model's, not the guest's.
      config[CONFIG.STATUS]! &= ~STATUS.INTERRUPT;
      if (!this.config.accepts(config)) throw foreignFunction(reader);
      const interrupt = reader.bool("interrupt");
      this.config.restore(config);
      if (this.#msix) this.#msix.restore(reader.object("msix"), this.config.read(this.#msixControlOffset, 2));
      else if (reader.part("msix") !== null) throw reader.invalid("msix", "belongs to a function with MSI-X");
      reader.end();
      this.#interrupt = interrupt;
    } catch (error) {
      this.reset();
      throw error;
    }
    this.#driveIntx();
    this.#configChanged();
    this.#connection.decodeChanged();
  }

  #addBar(bar: Omit<PciBar, "base" | "name">): PciBar {
    const added: PciBar = { ...bar, name: `${this.identity.name} BAR${bar.index}`, base: () => this.#baseOf(added) };
    this.bars.push(added);
    return added;
  }

  #baseOf(bar: PciBar): number | undefined {
    const enable = bar.space === "io" ? COMMAND.IO_SPACE : COMMAND.MEMORY_SPACE;
    if ((this.config.read(CONFIG.COMMAND, 2) & enable) === 0) return undefined;
    const low = this.config.read(CONFIG.BAR0 + 4 * bar.index, 4);
    const high = bar.wide ? this.config.read(CONFIG.BAR0 + 4 * bar.index + 4, 4) : 0;
    if (bar.space === "io" && low >>> 16 !== 0) return undefined;
    const base = bar.space === "io" ? low & 0xfffc : high * 2 ** 32 + ((low & ~0xf) >>> 0);
    // Zero is the unassigned state; beyond 2^52 there is no guest-physical address.
    return base === 0 || base + bar.sizeBytes > 2 ** 52 ? undefined : base;
  }

  #decodes(): string {
    return this.windows.map((window) => window.base() ?? "").join();
  }

  #msixChanged(): void {
    this.#msix?.setControl(this.config.read(this.#msixControlOffset, 2));
  }

  #driveIntx(): void {
    const status = this.config.read(CONFIG.STATUS, 1) & ~STATUS.INTERRUPT;
    this.config.set(CONFIG.STATUS, 1, this.#interrupt ? status | STATUS.INTERRUPT : status);
    const disabled = (this.config.read(CONFIG.COMMAND, 2) & COMMAND.INTERRUPT_DISABLE) !== 0;
    const usesMessages = this.#hasMsi || this.#msix?.enabled;
    const level = this.#interrupt && !disabled && !usesMessages && this.config.bytes[CONFIG.INTERRUPT_PIN] !== 0;
    if (level === this.#intxLevel) return;
    this.#intxLevel = level;
    this.#connection.intx.set(level);
  }
}

function isPowerOfTwo(value: number, min: number): boolean {
  return Number.isInteger(value) && value >= min && 2 ** Math.round(Math.log2(value)) === value;
}

function foreignFunction(reader: StateReader): StateError {
  return reader.invalid("config", "describes another PCI function than this board has here");
}
