/** What lies in a floppy drive of 3.5 inches: disks of two sides and 80 cylinders, with 9 or 18 sectors of 512 bytes on a track. */
export const SECTOR_BYTES = 512;
/** N of a sector's identification: 128 bytes, doubled so often. */
export const SECTOR_SIZE_CODE = 2;
export const HEADS = 2;
export const CYLINDERS = 80;

export interface FloppyFormat {
  /** Of a track. */
  readonly sectors: number;
  /** Of the data rate register: 500 kbit/s or 250 kbit/s. */
  readonly rate: number;
}

const FORMATS: readonly FloppyFormat[] = [
  { sectors: 18, rate: 0 },
  { sectors: 9, rate: 2 },
];

/** 1440 KiB and 720 KiB. */
export const FLOPPY_BYTES: readonly number[] = FORMATS.map(sizeOf);
export const MAX_TRACK_SECTORS = 18;

/** Undefined: no disk has this size. */
export function formatOf(sizeBytes: number): FloppyFormat | undefined {
  return FORMATS.find((format) => sizeOf(format) === sizeBytes);
}

function sizeOf({ sectors }: FloppyFormat): number {
  return CYLINDERS * HEADS * sectors * SECTOR_BYTES;
}
