/** The spec's devices that have a slot of PCI bus 0 each, and which of them are bays, where disks and network cards come and go. */
import type { PciFunction } from "../bus/pci/function.ts";
import type { Device, DeviceContext } from "../devices/device.ts";
import { createE1000 } from "../devices/e1000/e1000.ts";
import { macBytes } from "../devices/network-channel.ts";
import { createNvme } from "../devices/nvme/controller.ts";
import { createVirtioBalloon } from "../devices/virtio/balloon.ts";
import { createVirtioBlock } from "../devices/virtio/block.ts";
import { createVirtioConsole } from "../devices/virtio/console.ts";
import { createVirtioFs } from "../devices/virtio/fs.ts";
import { createVirtioMem } from "../devices/virtio/mem.ts";
import { createVirtioNet } from "../devices/virtio/net.ts";
import { createVirtio9p } from "../devices/virtio/p9.ts";
import { createVirtioRng } from "../devices/virtio/rng.ts";
import { createVirtioVsock } from "../devices/virtio/vsock.ts";
import { createWatchdog } from "../devices/watchdog.ts";
import { PCI_SLOT } from "./board-map.ts";
import type { DeviceSpec } from "./device-spec.ts";
import {
  type FloppySpec,
  type IdeDriveSpec,
  isFloppy,
  isIdeDrive,
  isInBay,
  isSataDrive,
  type SataDriveSpec,
} from "./disk-spec.ts";
import { hotMemoryOf } from "./memory-size.ts";
import { isCardInBay, type NetworkCardSpec } from "./network-card-spec.ts";
import type { MachineSpec } from "./spec.ts";

/** What firmware starts from network cards with, by their kind. */
export type CardRoms = { readonly [kind in NetworkCardSpec["kind"]]?: Uint8Array | undefined };

export type SlotDeviceSpec = Exclude<DeviceSpec, SataDriveSpec | IdeDriveSpec | FloppySpec>;

export interface PciDevice extends Device {
  readonly pci: PciFunction;
}

export function isBay(device: DeviceSpec): device is SlotDeviceSpec & { readonly isInBay: true } {
  return isInBay(device) || isCardInBay(device);
}

/** Slots of bus 0 in which disks and network cards come and go. */
export function diskBaySlots(spec: MachineSpec): number[] {
  return slotDevices(spec).flatMap((device, index) => (isBay(device) ? [PCI_SLOT.firstFree + index] : []));
}

/** Those with a PCI slot each. */
export function slotDevices({ devices }: MachineSpec): SlotDeviceSpec[] {
  const hasSlot = (device: DeviceSpec): device is SlotDeviceSpec =>
    !isSataDrive(device) && !isIdeDrive(device) && !isFloppy(device);
  return devices.filter(hasSlot);
}

export function createSlotDevice(context: DeviceContext, spec: SlotDeviceSpec, roms: CardRoms = {}): PciDevice {
  switch (spec.kind) {
    case "virtio-console":
      return createVirtioConsole(context, spec);
    case "virtio-vsock":
      return createVirtioVsock(context, spec);
    case "virtio-balloon":
      return createVirtioBalloon(context, spec);
    case "virtio-mem":
      return createVirtioMem(context, { name: spec.name, region: hotMemoryOf({ devices: [spec] })! });
    case "virtio-rng":
      return createVirtioRng(context, spec);
    case "watchdog":
      return createWatchdog(context, spec);
    case "virtio-block":
      return createVirtioBlock(context, spec);
    case "nvme-disk":
      return createNvme(context, spec);
    case "virtio-net":
      return createVirtioNet(context, { ...spec, mac: macBytes(spec.mac)!, rom: spec.rom && roms[spec.kind] });
    case "e1000":
      return createE1000(context, { name: spec.name, mac: macBytes(spec.mac)!, rom: spec.rom && roms[spec.kind] });
    case "virtio-fs":
      return createVirtioFs(context, spec);
    case "virtio-9p":
      return createVirtio9p(context, spec);
  }
}
