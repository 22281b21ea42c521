/**
 * PCI bus 0: which function sits where, configuration accesses, decoded windows and interrupt wiring.
 *
 * Two ways into configuration space: mechanism #1, ports 0xCF8 and 0xCFC (PCI Local Bus 3.0, 3.2.2.3.2), and the
 * memory-mapped window of PCI Express (ECAM, PCIe base specification 7.2.2). Byte and word accesses to 0xCF8-0xCFB are
 * not configuration accesses; the board hangs the reset control register (0xCF9) in there.
 *
 * The guest may program windows that overlap. Fixed devices then win over PCI, and among PCI functions the lowest
 * device, function and BAR: windows are laid out anew on each change, so that the outcome depends on registers and not
 * on history. Left out: other buses, native hot plug, PCI Express capabilities.
 */
import type { Device, IrqLine, StateValue } from "../../devices/device.ts";
import { StateReader } from "../../state/reader.ts";
import type { AccessSize, IoHandler } from "../io.ts";
import type { OpenIoBus } from "../io-bus.ts";
import type { MsiSink } from "../irq.ts";
import { CONFIG } from "./config-space.ts";
import type { PciFunction } from "./function.ts";

const DEVICES = 32;
const FUNCTIONS = 8;
const CONFIG_ENABLE = 0x8000_0000;
const ADDRESS_WRITABLE = 0x80ff_fffc;
const MULTI_FUNCTION = 0x80;

export interface PciBusOptions {
  readonly ports: OpenIoBus;
  readonly mmio: OpenIoBus;
  readonly msi: MsiSink;
  /** The wire of an INTx pin (0 = INTA#) of a device; each call is a new driver of that wire. */
  readonly intx: (device: number, pin: number) => IrqLine;
  /** Takes byte and word accesses to 0xCF8-0xCFB. */
  readonly underAddressPort?: IoHandler;
}

export class PciBus implements Device {
  readonly name = "pci";
  readonly schema = { id: "pci-bus", version: 1 } as const;
  readonly #options: PciBusOptions;
  /** Index: device * 8 + function. */
  readonly #functions: (PciFunction | undefined)[] = new Array(DEVICES * FUNCTIONS).fill(undefined);
  /** Places whose function is not there at present. */
  readonly #absent = new Set<number>();
  readonly #releases: (() => void)[] = [];
  #layout = "";
  #configAddress = 0;

  constructor(options: PciBusOptions) {
    this.#options = options;
  }

  /** Plugs a function in; its device model keeps resetting, saving and restoring it. Precondition: the place is free. */
  plug(device: number, functionNumber: number, pci: PciFunction): void {
    const index = device * FUNCTIONS + functionNumber;
    if (!(device >= 0 && device < DEVICES && functionNumber >= 0 && functionNumber < FUNCTIONS)) {
      throw new RangeError(`no PCI place ${device}.${functionNumber}`);
    }
    const other = this.#functions[index];
    if (other) throw new RangeError(`PCI place ${device}.${functionNumber} holds ${other.identity.name} already`);
    this.#functions[index] = pci;
    const pin = pci.identity.interruptPin;
    pci.connect({
      msi: this.#options.msi,
      intx: pin ? this.#options.intx(device, pin - 1) : { set: () => {} },
      decodeChanged: () => this.#layOut(),
    });
    this.#layOut();
  }

  /** A function that is not there answers nothing, and takes no addresses. Precondition: plugged. Its device model keeps its state. */
  setPresent(device: number, functionNumber: number, isPresent: boolean): void {
    const index = device * FUNCTIONS + functionNumber;
    if (isPresent) this.#absent.delete(index);
    else this.#absent.add(index);
    this.#layOut();
  }

  /** All functions that are there, in order of their places. */
  functions(): { device: number; functionNumber: number; pci: PciFunction }[] {
    return this.#functions.flatMap((pci, index) =>
      pci && !this.#absent.has(index)
        ? [{ device: Math.floor(index / FUNCTIONS), functionNumber: index % FUNCTIONS, pci }]
        : [],
    );
  }

  /** Ports 0xCF8 to 0xCFB. */
  readonly addressPort: IoHandler = {
    read: (offset, size) =>
      size === 4 && offset === 0 ? this.#configAddress : (this.#options.underAddressPort?.read(offset, size) ?? -1),
    write: (offset, size, value) => {
      if (size === 4 && offset === 0) this.#configAddress = (value & ADDRESS_WRITABLE) >>> 0;
      else this.#options.underAddressPort?.write(offset, size, value);
    },
  };

  /** Ports 0xCFC to 0xCFF. */
  readonly dataPort: IoHandler = {
    read: (offset, size) => {
      if (this.#configAddress < CONFIG_ENABLE) return -1;
      return this.readConfig((this.#configAddress >>> 8) & 0xffff, (this.#configAddress & 0xff) + offset, size);
    },
    write: (offset, size, value) => {
      if (this.#configAddress < CONFIG_ENABLE) return;
      this.writeConfig((this.#configAddress >>> 8) & 0xffff, (this.#configAddress & 0xff) + offset, size, value);
    },
  };

  /** The ECAM window: 4 KiB for each function of each bus. */
  readonly ecam: IoHandler = {
    read: (offset, size) => this.readConfig(Math.floor(offset / 0x1000), offset % 0x1000, size),
    write: (offset, size, value) => this.writeConfig(Math.floor(offset / 0x1000), offset % 0x1000, size, value),
  };

  /** `address`: bus in bits 15:8, device in 7:3, function in 2:0. */
  readConfig(address: number, offset: number, size: AccessSize): number {
    const pci = this.#at(address);
    if (!pci) return -1;
    const value = pci.readConfig(offset, size);
    if (address % FUNCTIONS !== 0 || !this.#isMultiFunction(address)) return value;
    const shift = 8 * (CONFIG.HEADER_TYPE - offset);
    return shift >= 0 && shift < 8 * size ? (value | (MULTI_FUNCTION << shift)) >>> 0 : value;
  }

  writeConfig(address: number, offset: number, size: AccessSize, value: number): void {
    this.#at(address)?.writeConfig(offset, size, value);
  }

  #at(address: number): PciFunction | undefined {
    return address < this.#functions.length && !this.#absent.has(address) ? this.#functions[address] : undefined;
  }

  reset(): void {
    this.#configAddress = 0;
  }

  save(): StateValue {
    return { configAddress: this.#configAddress };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const configAddress = reader.u32("configAddress");
    reader.end();
    this.#configAddress = (configAddress & ADDRESS_WRITABLE) >>> 0;
  }

  #isMultiFunction(address: number): boolean {
    for (let index = address + 1; index < address + FUNCTIONS; index++) if (this.#functions[index]) return true;
    return false;
  }

  #layOut(): void {
    const wanted = this.functions().flatMap(({ pci }) =>
      pci.windows.flatMap((window) => {
        const base = window.base();
        return base === undefined ? [] : [{ window, base }];
      }),
    );
    const layout = wanted.map(({ window, base }) => `${window.name}@${base}`).join();
    if (layout === this.#layout) return;
    this.#layout = layout;
    for (const release of this.#releases.splice(0)) release();
    for (const { window, base } of wanted) {
      const bus = window.space === "io" ? this.#options.ports : this.#options.mmio;
      const release = bus.tryClaim(base, window.sizeBytes, window.handler, window);
      if (!release) continue;
      this.#releases.push(() => {
        release();
        window.onPlaced?.(undefined);
      });
      window.onPlaced?.(base);
    }
  }
}
