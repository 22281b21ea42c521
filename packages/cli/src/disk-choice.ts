/** `--disk PATH[,format=..][,bus=..][,readonly][,ephemeral][,bootindex=N]`: one disk of a VM, with limits by disk-limit-words.ts. What a path holds of commas is its own. */
import { DISK_LIMIT_WORDS, diskLimitOf, diskLimitWords } from "./disk-limit-words.ts";
import { listOption } from "./options.ts";
import { UsageError } from "./usage-error.ts";
import type { DiskLimits, DiskOptions } from "./vm-library.ts";
import { takeWordsBehind } from "./words-behind.ts";

const FORMATS = ["raw", "qcow2"] as const;
const BUSES = ["virtio", "ahci", "nvme", "ide", "floppy"] as const;

export const DISK = listOption(
  "disk",
  "PATH[,...]",
  "A disk from an image file; may be repeated: the guest's /dev/vda, /dev/vdb, in this order. With ,format=raw|qcow2 (default: by content and name), ,bus=ahci or ide (a SATA or IDE disk, /dev/sda) or nvme (/dev/nvme0n1), ,readonly, ,ephemeral (what the guest writes is thrown away) or ,bootindex=N (firmware tries it before disks without one, the smallest first); ,iops=500, ,rate=20M and ,space=10G limit it. See docs/guide/disks.md.",
  parseDisk,
);

export const CDROM = listOption(
  "cdrom",
  "ISO[,bus=ide]",
  "A disc in a CD drive, of SATA or with ,bus=ide of IDE; may be repeated. Firmware starts from it after the disks.",
  (text): DiskOptions => {
    const [, path = "", bus] = /^(.*?)(?:,bus=(ahci|ide))?$/s.exec(text) ?? [];
    if (path === "") throw new UsageError("which image? Give its path: --cdrom ISO.");
    return { path, format: "raw", isReadOnly: true, isCdrom: true, ...(bus === "ide" && { bus }) };
  },
);

export const FLOPPY = listOption(
  "floppy",
  "FILE[,readonly]",
  "A floppy disk of 1440 or 720 KiB in a drive, the guest's A: and /dev/fd0; may be twice. Firmware starts from it after the disks and CDs.",
  (text): DiskOptions => {
    const [, path = "", readonly] = /^(.*?)(,readonly)?$/s.exec(text) ?? [];
    if (path === "") throw new UsageError("which image? Give its path: --floppy FILE.");
    return { path, format: "raw", bus: "floppy", ...(readonly !== undefined && { isReadOnly: true }) };
  },
);

/** Of all options: the disks first. */
export function disksOf(values: {
  readonly disk?: readonly DiskOptions[] | undefined;
  readonly cdrom?: readonly DiskOptions[] | undefined;
  readonly floppy?: readonly DiskOptions[] | undefined;
}): readonly DiskOptions[] {
  return [...(values.disk ?? []), ...(values.cdrom ?? []), ...(values.floppy ?? [])];
}

/** With limits of its own that say nothing else. */
export function limitedDisk(disk: DiskOptions, limits: DiskLimits | undefined): DiskOptions {
  return limits === undefined ? disk : { ...disk, limits: { ...limits, ...disk.limits } };
}

type Bus = (typeof BUSES)[number];

/** Throws UsageError. */
export function parseDisk(text: string): DiskOptions {
  const disk: {
    path: string;
    format?: "raw" | "qcow2";
    isReadOnly?: boolean;
    isEphemeral?: boolean;
    bus?: Bus;
    bootIndex?: number;
    limits?: DiskLimits;
  } = { path: "" };
  disk.path = takeWordsBehind(text, (word, before) => {
    const [key, value] = word.split(/=(.*)/s) as [string, string | undefined];
    if (word === "readonly") disk.isReadOnly = true;
    else if (word === "ephemeral") disk.isEphemeral = true;
    else if (key === "format" && value !== undefined) {
      const format = FORMATS.find((known) => known === value);
      if (format === undefined) throw new UsageError(`there is no format "${value}". Possible: ${FORMATS.join(", ")}.`);
      disk.format = format;
    } else if (key === "bus" && value !== undefined) disk.bus = busOf(value);
    else if (key === "bootindex" && value !== undefined) disk.bootIndex = bootIndexOf(value);
    else if (value !== undefined && DISK_LIMIT_WORDS.includes(key))
      disk.limits = { ...diskLimitOf(key, value), ...disk.limits };
    else if (/^[a-z]+=/.test(word) || isWordBehindFile(word, before)) {
      throw new UsageError(
        `"${word}" is nothing that a disk has. Possible: format=, bus=, bootindex=, readonly, ephemeral, ${DISK_LIMIT_WORDS.map((known) => `${known}=`).join(", ")}.`,
      );
    } else return false;
    return true;
  });
  if (disk.path === "") throw new UsageError("which image? Give its path first: --disk PATH.");
  if (disk.isReadOnly && disk.isEphemeral) {
    throw new UsageError("readonly and ephemeral exclude each other: what is not written need not be thrown away.");
  }
  return disk;
}

/** What parseDisk reads as the same. */
export function diskText({ path, format, bus, isReadOnly, isEphemeral, bootIndex, limits }: DiskOptions): string {
  const words = [
    format && `format=${format}`,
    bus && `bus=${bus}`,
    isReadOnly && "readonly",
    isEphemeral && "ephemeral",
    bootIndex !== undefined && `bootindex=${bootIndex}`,
    ...diskLimitWords(limits),
  ];
  return [path, ...words.filter(Boolean)].join(",");
}

/** "a.img,snapshot": no path goes on behind a file's extension without another one. */
function isWordBehindFile(word: string, before: string): boolean {
  return /^[a-z-]+$/.test(word) && /\.[a-z0-9]{2,5}$/i.test(before);
}

function bootIndexOf(text: string): number {
  if (/^\d{1,3}$/.test(text)) return Number(text);
  throw new UsageError(`"${text}" is no boot index. Give a whole number from 0 to 999.`);
}

function busOf(bus: string): Bus {
  const known = BUSES.find((name) => name === bus);
  if (known !== undefined) return known;
  throw new UsageError(`there is no bus "${bus}". Possible: ${BUSES.join(", ")}.`);
}
