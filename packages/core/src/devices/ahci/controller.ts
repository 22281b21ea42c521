/**
 * AHCI controller of Intel's ICH9 (PCI 8086:2922 at 00:1f.2; Serial ATA AHCI 1.3.1): six ports for SATA drives, 32 commands
 * each, native queueing, 64-bit addresses, MSI or INTx. Ports: port.ts; drives: ata-disk.ts and
 * atapi-cd.ts.
 *
 * Left out: the legacy IDE interface, command completion coalescing, enclosure management, power states of the link,
 * port multipliers, hot plug.
 */
import type { AccessSize, IoHandler } from "../../bus/io.ts";
import { type MsiCapability, PciFunction } from "../../bus/pci/function.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "../device.ts";
import type { TrayState } from "./cd-tray.ts";
import { AhciPort, type PortDrive } from "./port.ts";
import { ABAR_BYTES, CAP_VALUE, GHC, HBA, PORT_BASE, PORT_BYTES, PORTS, VS_VALUE } from "./registers.ts";

const ABAR = 5;
const PORT_MASK = (1 << PORTS) - 1;

export interface AhciOptions {
  readonly name: string;
  /** By port. */
  readonly drives: readonly PortDrive[];
}

export class AhciController implements Device, IoHandler {
  readonly name: string;
  readonly schema = { id: "ahci-ich9", version: 1 } as const;
  readonly pci: PciFunction;
  readonly #msi: MsiCapability;
  readonly #ports: readonly AhciPort[];
  readonly #drives: readonly PortDrive[];
  #ie = false;
  #is = 0;

  constructor(context: DeviceContext, { name, drives }: AhciOptions) {
    if (drives.length > PORTS) throw new RangeError(`${drives.length} drives at ${PORTS} ports`);
    this.name = name;
    this.#drives = drives;
    this.pci = new PciFunction({
      name,
      vendorId: 0x8086,
      deviceId: 0x2922,
      classCode: 0x01_0601,
      revisionId: 0x02,
      interruptPin: 1,
    });
    this.pci.addMemoryBar(ABAR, ABAR_BYTES, this);
    this.#msi = this.pci.addMsi();
    this.#ports = Array.from({ length: PORTS }, (_, i) => new AhciPort(context, drives[i], () => this.#update()));
    this.reset();
  }

  /** The tray of the drive with this disk. */
  trayOf(disk: string): TrayState | undefined {
    const port = this.#drives.findIndex(({ name }) => name === disk);
    return this.#ports[port]?.cd?.tray;
  }

  /** Registers are dwords; narrower reads are parts of one. */
  read(offset: number, size: AccessSize): number {
    const value = this.#readRegister(offset & ~3) >>> (8 * (offset & 3));
    return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
  }

  /** Narrower writes are of a whole register too, with zeroes around (3). */
  write(offset: number, size: AccessSize, value: number): void {
    if ((offset & 3) + size > 4) return;
    this.#writeRegister(offset & ~3, (value << (8 * (offset & 3))) | 0);
  }

  reset(): void {
    this.#ie = false;
    this.#is = 0;
    this.pci.reset();
    for (const port of this.#ports) port.reset("power");
    this.#is = 0;
    this.pci.intx.set(false);
  }

  resume(): void {
    for (const port of this.#ports) port.resume();
  }

  save(): StateValue {
    return { pci: this.pci.save(), ie: this.#ie, is: this.#is, ports: this.#ports.map((port) => port.save()) };
  }

  restore(state: StateValue): void {
    const putDiscsBack = this.#ports.map(({ cd }) => cd?.keepDisc());
    this.reset();
    try {
      const reader = new StateReader(state, this.name);
      this.pci.restore(reader.part("pci"), `${reader.path}.pci`);
      this.#ie = reader.bool("ie");
      this.#is = reader.int("is", 0, PORT_MASK);
      for (const [i, port] of reader.arrayExact("ports", PORTS).entries()) this.#ports[i]!.restore(port);
      reader.end();
      for (const [i, port] of this.#ports.entries()) {
        if (port.hasInterrupt && (this.#is & (1 << i)) === 0) throw reader.invalid("is", "lacks a port's interrupt");
      }
    } catch (error) {
      for (const putBack of putDiscsBack) putBack?.();
      this.reset();
      throw error;
    }
    this.pci.intx.set(this.#ie && this.#is !== 0);
  }

  #readRegister(offset: number): number {
    if (offset >= PORT_BASE) {
      const port = this.#ports[Math.floor((offset - PORT_BASE) / PORT_BYTES)];
      return port?.read((offset - PORT_BASE) % PORT_BYTES) ?? 0;
    }
    switch (offset) {
      case HBA.CAP:
        return CAP_VALUE;
      case HBA.GHC:
        return GHC.AE | (this.#ie ? GHC.IE : 0);
      case HBA.IS:
        return this.#is;
      case HBA.PI:
        return PORT_MASK;
      case HBA.VS:
        return VS_VALUE;
      default:
        return 0;
    }
  }

  #writeRegister(offset: number, value: number): void {
    if (offset >= PORT_BASE) {
      const port = this.#ports[Math.floor((offset - PORT_BASE) / PORT_BYTES)];
      port?.write((offset - PORT_BASE) % PORT_BYTES, value);
    } else if (offset === HBA.IS) {
      this.#is &= ~value;
      this.#update();
    } else if (offset === HBA.GHC) {
      if (value & GHC.HR) this.#resetController();
      else this.#enable((value & GHC.IE) !== 0);
    }
  }

  #resetController(): void {
    this.#ie = false;
    for (const port of this.#ports) port.reset("controller");
    this.#is = 0;
    this.pci.intx.set(false);
  }

  #enable(ie: boolean): void {
    const rises = ie && !this.#ie && this.#is !== 0;
    this.#ie = ie;
    this.pci.intx.set(ie && this.#is !== 0);
    if (rises) this.#msi.send();
  }

  /** A message goes out for each port whose bit rises (10.7.2.1). */
  #update(): void {
    let is = this.#is;
    for (const [i, port] of this.#ports.entries()) if (port.hasInterrupt) is |= 1 << i;
    const rises = is & ~this.#is;
    this.#is = is;
    this.pci.intx.set(this.#ie && is !== 0);
    if (rises !== 0 && this.#ie) this.#msi.send();
  }
}

export function createAhci(context: DeviceContext, options: AhciOptions): AhciController {
  return new AhciController(context, options);
}
