/** What an NVMe controller tells by IDENTIFY (NVM Express 1.4, 5.15): itself, its one namespace, and lists of those. */
import { ALL_NAMESPACES, MAX_TRANSFER_BYTES, NAMESPACE, type NvmeDisk, SECTOR_BYTES } from "./nvme-work.ts";
import { PAGE_BYTES, VS_VALUE } from "./registers.ts";

export const MAX_EVENT_REQUESTS = 4;
export const ERROR_LOG_ENTRIES = 4;
export const PCI_IDENTITY = { VENDOR: 0x1b36, DEVICE: 0x0010, SUBSYSTEM_VENDOR: 0x1af4, SUBSYSTEM: 0x1100 } as const;
export const FIRMWARE_REVISION = "1.0";

const CNS = { NAMESPACE: 0, CONTROLLER: 1, ACTIVE_NAMESPACES: 2, DESCRIPTORS: 3 } as const;
/** Write zeroes, dataset management (ONCS). */
const ONCS = (1 << 2) | (1 << 3);
const UUID_DESCRIPTOR = 3;
const PREFERRED_SECTORS = 8;

/** Undefined: there is no such structure; "namespace": no such namespace. */
export function identify(cns: number, nsid: number, disk: NvmeDisk): Uint8Array | "namespace" | undefined {
  switch (cns) {
    case CNS.CONTROLLER:
      return controllerData(disk);
    case CNS.NAMESPACE:
      return nsid === NAMESPACE || nsid === ALL_NAMESPACES ? namespaceData(disk) : "namespace";
    case CNS.ACTIVE_NAMESPACES: {
      if (nsid >= ALL_NAMESPACES - 1) return "namespace";
      const list = new Uint8Array(PAGE_BYTES);
      if (nsid < NAMESPACE) list[0] = NAMESPACE;
      return list;
    }
    case CNS.DESCRIPTORS:
      return nsid === NAMESPACE ? descriptors(disk) : "namespace";
    default:
      return undefined;
  }
}

function controllerData({ name }: NvmeDisk): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, PCI_IDENTITY.VENDOR, true);
  view.setUint16(2, PCI_IDENTITY.SUBSYSTEM_VENDOR, true);
  putText(bytes, 4, 20, name);
  putText(bytes, 24, 40, "TWINMETAL NVME DISK");
  putText(bytes, 64, 8, FIRMWARE_REVISION);
  bytes[72] = 6;
  bytes[77] = Math.log2(MAX_TRANSFER_BYTES / PAGE_BYTES);
  view.setUint32(80, VS_VALUE, true);
  bytes[111] = 1; // An I/O controller.
  bytes[258] = 3;
  bytes[259] = MAX_EVENT_REQUESTS - 1;
  bytes[260] = 0x03; // One firmware slot, read-only.
  bytes[261] = 0x04; // Parts of log pages.
  bytes[262] = ERROR_LOG_ENTRIES - 1;
  view.setUint16(266, 343, true);
  view.setUint16(268, 353, true);
  bytes[512] = 0x66;
  bytes[513] = 0x44;
  view.setUint32(516, 1, true);
  view.setUint16(520, ONCS, true);
  bytes[525] = 1; // A volatile write cache.
  bytes.set(new TextEncoder().encode(`nqn.2014-08.org.nvmexpress:uuid:${uuidText(name)}`), 768);
  view.setUint16(2048, 2500, true); // Power state 0: 25 W at most.
  return bytes;
}

function namespaceData({ sizeBytes, isReadOnly }: NvmeDisk): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  const sectors = BigInt(sizeBytes / SECTOR_BYTES);
  view.setBigUint64(0, sectors, true);
  view.setBigUint64(8, sectors, true);
  view.setBigUint64(16, sectors, true);
  bytes[24] = 0x10; // The preferred sizes below are told.
  bytes[33] = 0x08; // WRITE ZEROES may deallocate.
  view.setBigUint64(48, BigInt(sizeBytes), true);
  for (const preferred of [64, 66, 68, 70]) view.setUint16(preferred, PREFERRED_SECTORS - 1, true);
  bytes[99] = isReadOnly ? 1 : 0;
  bytes[130] = Math.log2(SECTOR_BYTES);
  return bytes;
}

function descriptors({ name }: NvmeDisk): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  bytes.set([UUID_DESCRIPTOR, 16]);
  bytes.set(uuid(name), 4);
  return bytes;
}

/** Of version 8, made from the disk's name alone. */
function uuid(name: string): Uint8Array {
  const bytes = new Uint8Array(16);
  let hash = 0x811c_9dc5;
  for (let i = 0; i < bytes.length; i++) {
    for (const letter of `${i} ${name}`) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x0100_0193);
    bytes[i] = hash >>> 24;
  }
  bytes[6] = 0x80 | (bytes[6]! & 0xf);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return bytes;
}

function uuidText(name: string): string {
  const digits = [...uuid(name)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function putText(bytes: Uint8Array, at: number, length: number, text: string): void {
  for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i) || 0x20;
}
