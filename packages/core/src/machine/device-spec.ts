/** The devices in a machine's spec, beside what is soldered to the board. */
import type { StateValue } from "../devices/device.ts";
import { WATCHDOG_ACTIONS, type WatchdogAction } from "../devices/watchdog.ts";
import type { StateReader } from "../state/reader.ts";
import {
  type AnyDiskSpec,
  checkDisks,
  DISK_KINDS,
  diskFields,
  diskFromState,
  isDisk,
  isDiskKind,
} from "./disk-spec.ts";
import {
  checkNetworkCards,
  isNetworkCard,
  isNetworkCardKind,
  NETWORK_CARD_KINDS,
  type NetworkCardSpec,
  networkCardFields,
  networkCardFromState,
} from "./network-card-spec.ts";
import {
  checkShares,
  isShare,
  isShareKind,
  SHARE_KINDS,
  type ShareSpec,
  shareFields,
  shareFromState,
} from "./share-spec.ts";
import { isWhole, requireOneOf, SpecError } from "./spec-error.ts";

export const DEVICE_KINDS = [
  ...DISK_KINDS,
  ...NETWORK_CARD_KINDS,
  ...SHARE_KINDS,
  "virtio-console",
  "virtio-rng",
  "virtio-balloon",
  "virtio-mem",
  "virtio-vsock",
  "watchdog",
] as const;
export type DeviceKind = (typeof DEVICE_KINDS)[number];

/** 0 to 2 are nobody, the guest itself and the host; the last one is anybody. */
export const GUEST_CIDS = { min: 3, max: 0xffff_fffe } as const;
export const MAX_DEVICES = 24;
const MAX_CONSOLE_PORTS = 31;

export interface ConsolePortSpec {
  /** As the guest sees it, and the name of its channel. */
  readonly name: string;
  /** A terminal in the guest (hvc), and not a plain stream of bytes. */
  readonly isConsole: boolean;
}

/** `name` is unique, and the name of the device's section in a state: lower-case letters, digits and "-". */
export type DeviceSpec =
  | { readonly kind: "virtio-rng" | "virtio-balloon"; readonly name: string }
  /** Memory that is plugged and unplugged while the machine runs, beside its `memoryBytes`: at most so much. */
  | { readonly kind: "virtio-mem"; readonly name: string; readonly sizeBytes: number }
  | { readonly kind: "virtio-vsock"; readonly name: string; readonly guestCid: number }
  | { readonly kind: "virtio-console"; readonly name: string; readonly ports: readonly ConsolePortSpec[] }
  | { readonly kind: "watchdog"; readonly name: string; readonly action: WatchdogAction }
  | AnyDiskSpec
  | NetworkCardSpec
  | ShareSpec;

export function deviceFields(device: DeviceSpec): { readonly [key: string]: StateValue } {
  const { kind, name } = device;
  return { kind, name, ...fieldsOf(device) };
}

function fieldsOf(device: DeviceSpec): { readonly [key: string]: StateValue } {
  if (isDisk(device)) return diskFields(device);
  if (isNetworkCard(device)) return networkCardFields(device);
  if (isShare(device)) return shareFields(device);
  switch (device.kind) {
    case "virtio-console":
      return { ports: device.ports.map(({ name, isConsole }) => ({ name, isConsole })) };
    case "virtio-mem":
      return { sizeBytes: device.sizeBytes };
    case "virtio-vsock":
      return { guestCid: device.guestCid };
    case "watchdog":
      return { action: device.action };
    default:
      return {};
  }
}

export function deviceFromState(reader: StateReader): DeviceSpec {
  const kind = reader.text("kind", 64) as DeviceKind;
  const name = reader.text("name", 64);
  if (isDiskKind(kind)) return diskFromState(kind, name, reader);
  if (isNetworkCardKind(kind)) return networkCardFromState(kind, name, reader);
  if (isShareKind(kind)) return shareFromState(kind, name, reader);
  if (kind === "virtio-mem") {
    const sizeBytes = reader.int("sizeBytes", 0, Number.MAX_SAFE_INTEGER);
    reader.end();
    return { kind, name, sizeBytes };
  }
  if (kind === "virtio-vsock") {
    const guestCid = reader.u32("guestCid");
    reader.end();
    return { kind, name, guestCid };
  }
  if (kind === "watchdog") {
    const action = reader.text("action", 16) as WatchdogAction;
    reader.end();
    return { kind, name, action };
  }
  if (kind !== "virtio-console") {
    reader.end();
    return { kind, name };
  }
  const ports = reader.array("ports", MAX_CONSOLE_PORTS).map((port) => {
    const entry = { name: port.text("name", 64), isConsole: port.bool("isConsole") };
    port.end();
    return entry;
  });
  reader.end();
  return { kind, name, ports };
}

/** Throws SpecError. */
export function checkDevices(devices: readonly DeviceSpec[]): void {
  if (devices.length > MAX_DEVICES) {
    throw new SpecError("devices", `${devices.length} devices do not fit: the board has ${MAX_DEVICES} slots.`);
  }
  const names = new Set<string>();
  for (const device of devices) {
    checkDevice(device);
    const { name } = device;
    if (names.has(name)) throw new SpecError("devices", `Two devices are named ${name}: give each its own name.`);
    names.add(name);
  }
  checkDisks(devices);
  checkNetworkCards(devices);
  checkShares(devices);
  if (devices.filter(({ kind }) => kind === "watchdog").length > 1)
    throw new SpecError("devices", "A machine has one watchdog at most. Leave the others out.");
}

function checkDevice(device: DeviceSpec): void {
  const { kind, name } = device;
  requireOneOf("devices", "device", kind, DEVICE_KINDS);
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(name)) {
    throw new SpecError(
      "devices",
      `${JSON.stringify(name)} is no device name: give up to 32 lower-case letters, digits and "-".`,
    );
  }
  if (kind === "virtio-console") checkPorts(name, device.ports);
  if (kind === "virtio-vsock" && !isWhole(device.guestCid, GUEST_CIDS.min, GUEST_CIDS.max)) {
    throw new SpecError(
      "devices",
      `The guest's socket address (CID) cannot be ${device.guestCid}. Give ${GUEST_CIDS.min} to ${GUEST_CIDS.max}.`,
    );
  }
  if (kind === "watchdog") requireOneOf("devices", "action of a watchdog", device.action, WATCHDOG_ACTIONS);
}

function checkPorts(device: string, ports: readonly ConsolePortSpec[]): void {
  if (ports.length < 1 || ports.length > MAX_CONSOLE_PORTS) {
    throw new SpecError("devices", `${device} cannot have ${ports.length} ports. Give 1 to ${MAX_CONSOLE_PORTS}.`);
  }
  for (const { name } of ports) {
    if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) continue;
    throw new SpecError(
      "devices",
      `${JSON.stringify(name)} is no port name: give up to 64 letters, digits, ".", "_" and "-".`,
    );
  }
}
