/**
 * Bays for disks, and for network cards, that come and go while the machine runs: each is a PCI slot with a virtio-blk that is
 * there while a disk is in it, or a virtio-net. Registers (hotplug-registers.ts) behind which the DSDT's slots stand (firmware/acpi/disk-bays.ts). Bit n is bay n.
 *
 * What is done at a bay from outside comes by its tray's channel (ahci/cd-tray.ts): "insert" puts a disk of a size in (a card has one, too, for nothing), of which
 * a general-purpose event tells the guest; "eject" asks the guest to let the disk go, which then leaves with EJECT. A disk
 * cannot be forced out: its driver would wait for ever. Resets of the guest leave the disks that are there.
 */
import type { IoBus } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import { MAX_DISC_BYTES, parseTrayAction, type TrayState, trayChannel } from "./ahci/cd-tray.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";
import { HOTPLUG, HotplugRegisters } from "./hotplug-registers.ts";

export const MAX_DISK_BAYS = 8;
const SECTOR_BYTES = 512;

/** The disk in a bay, for the model of its device, which looks here whenever it asks. */
export interface BayDisk {
  readonly name: string;
  sizeBytes: number;
}

export interface DiskBaysOptions {
  readonly disks: readonly BayDisk[];
  /** The guest shall look. */
  readonly onChange: () => void;
  /** A disk has come, to a device as after power-on, or has gone. */
  readonly onPlug: (index: number, isThere: boolean) => void;
}

export class DiskBays implements Device {
  readonly name = "disk-bays";
  readonly schema = { id: "disk-bays", version: 1 } as const;
  readonly registers: HotplugRegisters;
  readonly #options: DiskBaysOptions;

  constructor(context: DeviceContext, options: DiskBaysOptions) {
    const { disks } = options;
    this.#options = options;
    this.registers = new HotplugRegisters({
      ...{ count: disks.length, atStart: 0, fixed: 0 },
      onEject: (gone) => this.#each((index) => gone & (1 << index) && options.onPlug(index, false)),
    });
    this.#each((index) => {
      options.onPlug(index, false);
      context.onInput(trayChannel(disks[index]!.name), (bytes) => this.#handle(index, bytes));
    });
  }

  /** Of the bay of this disk: open while nothing is in it. */
  trayOf(disk: string): TrayState | undefined {
    const index = this.#options.disks.findIndex(({ name }) => name === disk);
    if (index < 0) return undefined;
    const hasDisc = this.registers.isPresent(index);
    const { sizeBytes } = this.#options.disks[index]!;
    return { isOpen: !hasDisc, isLocked: false, hasDisc, ...(hasDisc && { sizeBytes }) };
  }

  reset(): void {
    this.registers.reset();
  }

  save(): StateValue {
    return { ...this.registers.save(), sizes: this.#options.disks.map(({ sizeBytes }) => sizeBytes) };
  }

  restore(state: StateValue): void {
    this.reset();
    const { disks, onPlug } = this.#options;
    const reader = new StateReader(state, this.name);
    const sizes = reader.ints("sizes", disks.length, SECTOR_BYTES, MAX_DISC_BYTES);
    if (sizes.some((size) => size % SECTOR_BYTES !== 0)) throw reader.invalid("sizes", "has one of half a sector");
    this.registers.restore(reader);
    reader.end();
    this.#each((index) => {
      disks[index]!.sizeBytes = sizes[index]!;
      onPlug(index, this.registers.isPresent(index));
    });
  }

  #handle(index: number, bytes: Uint8Array): void {
    const action = parseTrayAction(bytes);
    const { registers } = this;
    if (action === undefined || (action.kind === "insert") === registers.isPresent(index)) return;
    if (action.kind === "insert") {
      this.#options.disks[index]!.sizeBytes = action.sizeBytes;
      this.#options.onPlug(index, true);
      registers.arrive(index);
    } else registers.askToLeave(index);
    this.#options.onChange();
  }

  #each(what: (index: number) => void): void {
    for (const index of this.#options.disks.keys()) what(index);
  }
}

export function attachDiskBays(device: DiskBays, ports: IoBus, base: { diskBays: number }): void {
  ports.claim(base.diskBays, HOTPLUG.sizeBytes, device.registers, { name: device.name });
}
