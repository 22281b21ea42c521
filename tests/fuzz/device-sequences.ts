/** For each front-end, what a driver does: the valid sequences that device-fuzz.ts mutates, and what may never come of them. */
import { AHCI } from "./ahci-sequences.ts";
import { BOARD_DEVICES, I8042, WATCHDOG } from "./board-sequences.ts";
import { APICS, PCI_BUS } from "./bus-sequences.ts";
import type { FuzzedDevice } from "./device-fuzz.ts";
import { FLASH, FW_CFG } from "./firmware-sequences.ts";
import { FLOPPY } from "./floppy-sequences.ts";
import { CPU_HOTPLUG_DEVICE, DISK_BAYS } from "./hotplug-sequences.ts";
import { IDE } from "./ide-sequences.ts";
import { NETWORK_CARDS } from "./network-sequences.ts";
import { NVME } from "./nvme-sequences.ts";
import { SHARE_DEVICES } from "./share-sequences.ts";
import { VGA } from "./vga-sequences.ts";
import { VIRTIO_DEVICES } from "./virtio-sequences.ts";

export const FUZZED_DEVICES: readonly FuzzedDevice[] = [
  ...VIRTIO_DEVICES,
  ...SHARE_DEVICES,
  AHCI,
  NVME,
  IDE,
  FLOPPY,
  WATCHDOG,
  ...NETWORK_CARDS,
  FW_CFG,
  FLASH,
  VGA,
  I8042,
  PCI_BUS,
  CPU_HOTPLUG_DEVICE,
  DISK_BAYS,
  APICS,
  ...BOARD_DEVICES,
];
