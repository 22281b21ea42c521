/** What a CD drive tells about itself and its disc (MMC-3, chapters 5 and 6; SPC-2, 7.3 and 7.20), for atapi-cd.ts. */

export interface Sense {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
}

export const ADDITIONAL_SENSE = {
  NONE: { key: 0, asc: 0, ascq: 0 },
  /** The tray is open; closed, and empty. */
  NO_MEDIUM: { key: 2, asc: 0x3a, ascq: 0x02 },
  EMPTY: { key: 2, asc: 0x3a, ascq: 0x01 },
  READ_ERROR: { key: 3, asc: 0x11, ascq: 0 },
  INVALID_COMMAND: { key: 5, asc: 0x20, ascq: 0 },
  OUT_OF_RANGE: { key: 5, asc: 0x21, ascq: 0 },
  INVALID_FIELD: { key: 5, asc: 0x24, ascq: 0 },
  NOT_SAVED: { key: 5, asc: 0x39, ascq: 0 },
  REMOVAL_PREVENTED: { key: 5, asc: 0x53, ascq: 0x02 },
  MEDIUM_CHANGED: { key: 6, asc: 0x28, ascq: 0 },
} as const satisfies Record<string, Sense>;

/** Of GET EVENT STATUS NOTIFICATION: class, events and status of media. */
export const mediaEvent = {
  CLASS: 4,
  CLASS_BIT: 0x10,
  EJECT_REQUEST: 1,
  NEW_MEDIA: 2,
  REMOVED: 3,
  OPEN: 1,
  PRESENT: 2,
} as const;

const PROFILE = { CD_ROM: 0x0008, DVD_ROM: 0x0010 } as const;
/** More than 80 minutes are a DVD. */
const CD_BLOCKS = 360_000;
const LEAD_OUT = 0xaa;
/** Frames before the first block. */
const MSF_OFFSET = 150;
const DATA_TRACK = 0x14;

export function senseData({ key, asc, ascq }: Sense): Uint8Array {
  const bytes = new Uint8Array(18);
  bytes.set([0x70, 0, key]);
  bytes[7] = 10;
  bytes.set([asc, ascq], 12);
  return bytes;
}

export function inquiry(): Uint8Array {
  const bytes = new Uint8Array(36);
  bytes.set([0x05, 0x80, 0x00, 0x21, 31]);
  bytes.set(new TextEncoder().encode("TWINMETLCD-ROM          1.0 "), 8);
  return bytes;
}

/** Mode page 2AH: reads CD-R, CD-RW and DVD; a tray that can be locked. */
export function capabilitiesPage(isLocked: boolean): Uint8Array {
  const page = new Uint8Array(22);
  page.set([0x2a, 20, 0x0b, 0, 0x70, 0, 0x29 | (isLocked ? 2 : 0)]);
  const view = new DataView(page.buffer);
  view.setUint16(8, 5632);
  view.setUint16(12, 512);
  view.setUint16(14, 5632);
  return page;
}

export function modeData(headerBytes: 4 | 8, page: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerBytes + page.length);
  bytes.set(page, headerBytes);
  if (headerBytes === 4) bytes[0] = bytes.length - 1;
  else new DataView(bytes.buffer).setUint16(0, bytes.length - 2);
  return bytes;
}

/** Formats 0, the tracks, and 1, the sessions; undefined: another, or no such track. */
export function tableOfContents(packet: Uint8Array, blocks: number): Uint8Array | undefined {
  const isMsf = (packet[1]! & 2) !== 0;
  const format = packet[2]! & 0xf || packet[9]! >> 6;
  const first = packet[6]!;
  const track = (number: number, block: number): number[] => [0, DATA_TRACK, number, 0, ...place(block, isMsf)];
  if (format === 1) return Uint8Array.of(0, 10, 1, 1, ...track(1, 0));
  if (format !== 0 || (first > 1 && first !== LEAD_OUT)) return undefined;
  const tracks = [...(first <= 1 ? track(1, 0) : []), ...track(LEAD_OUT, blocks)];
  return Uint8Array.of(0, tracks.length + 2, 1, 1, ...tracks);
}

function place(block: number, isMsf: boolean): number[] {
  if (!isMsf) return [block >>> 24, (block >>> 16) & 0xff, (block >>> 8) & 0xff, block & 0xff];
  const frames = block + MSF_OFFSET;
  return [0, Math.min(255, Math.floor(frames / 4500)), Math.floor(frames / 75) % 60, frames % 75];
}

/** One complete session, one track. */
export function discInformation(): Uint8Array {
  const bytes = new Uint8Array(34);
  bytes.set([0, 32, 0x0e, 1, 1, 1, 1]);
  return bytes;
}

/** GET CONFIGURATION: the features from `start`, or it alone (`requested` 2). No blocks: no disc. */
export function configuration(requested: number, start: number, blocks: number): Uint8Array {
  const profile = blocks === 0 ? 0 : blocks > CD_BLOCKS ? PROFILE.DVD_ROM : PROFILE.CD_ROM;
  const current = (of: number): number => (profile === of ? 1 : 0);
  const features: readonly (readonly [code: number, flags: number, ...body: number[]])[] = [
    [0x0000, 0x03, 0, PROFILE.DVD_ROM, current(PROFILE.DVD_ROM), 0, 0, PROFILE.CD_ROM, current(PROFILE.CD_ROM), 0],
    [0x0001, 0x03, 0, 0, 0, 7],
    [0x0003, 0x03, 0x29, 0, 0, 0],
    [0x0010, profile === 0 ? 0 : 1, 0, 0, 8, 0, 0, 1, 0, 0],
    [0x001e, current(PROFILE.CD_ROM)],
  ];
  const chosen = features.filter(([code]) => (requested === 2 ? code === start : code >= start));
  const body = chosen.flatMap(([code, flags, ...bytes]) => [code >> 8, code & 0xff, flags, bytes.length, ...bytes]);
  return Uint8Array.of(0, 0, 0, body.length + 4, 0, 0, profile >> 8, profile & 0xff, ...body);
}
