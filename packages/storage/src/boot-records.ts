/**
 * What a PC could start from a disk, by its first sectors: the master boot record, and the partition tables of it and of
 * GPT (UEFI Specification 2.10, chapter 5). A disk that both kinds of firmware start from answers "bios", the quicker one.
 * Left out: whether what is there works.
 */
import { type BlockDevice, SECTOR_BYTES } from "./block-device.ts";

const BOOT_CODE_BYTES = 440;
const MBR_PARTITIONS = 446;
const MBR_TYPE_ESP = 0xef;
const GPT_SIGNATURE = "EFI PART";
const MAX_GPT_ENTRIES = 128;
/** C12A7328-F81F-11D2-BA4B-00A0C93EC93B as it is on disk. */
const ESP_TYPE = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

/** Undefined: neither boot code nor an EFI system partition. */
export async function firmwareOfDisk(disk: BlockDevice): Promise<"bios" | "uefi" | undefined> {
  if (disk.sizeBytes < 3 * SECTOR_BYTES) return undefined;
  const start = new Uint8Array(2 * SECTOR_BYTES);
  await disk.read(0, start);
  if (start[510] !== 0x55 || start[511] !== 0xaa) return undefined;
  if (start.subarray(0, BOOT_CODE_BYTES).some((byte) => byte !== 0)) return "bios";
  const types = [0, 1, 2, 3].map((index) => start[MBR_PARTITIONS + 16 * index + 4]);
  return types.includes(MBR_TYPE_ESP) || (await hasEspInGpt(disk, start.subarray(SECTOR_BYTES))) ? "uefi" : undefined;
}

async function hasEspInGpt(disk: BlockDevice, header: Uint8Array): Promise<boolean> {
  if (!GPT_SIGNATURE.split("").every((letter, index) => header[index] === letter.charCodeAt(0))) return false;
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const at = Number(view.getBigUint64(72, true)) * SECTOR_BYTES;
  const count = Math.min(view.getUint32(80, true), MAX_GPT_ENTRIES);
  const entryBytes = view.getUint32(84, true);
  if (entryBytes < 128 || entryBytes > 4096) return false;
  const length = Math.ceil((count * entryBytes) / SECTOR_BYTES) * SECTOR_BYTES;
  if (at + length > disk.sizeBytes) return false;
  const entries = new Uint8Array(length);
  await disk.read(at, entries);
  for (let index = 0; index < count; index++) {
    if (ESP_TYPE.every((byte, i) => entries[index * entryBytes + i] === byte)) return true;
  }
  return false;
}
