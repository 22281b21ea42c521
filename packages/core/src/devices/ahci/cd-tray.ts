/**
 * The tray of a CD drive from outside: what somebody does at it, as bytes of an input channel, so that it is an event of the log
 * like every other input. To eject takes the disc out; a tray that the guest has locked stays closed, and the guest hears of
 * the wish, unless it is forced, as with a pin.
 */

export const MAX_DISC_BYTES: number = 2 ** 50;
const SECTOR_BYTES = 512;
const ACTION = { eject: 0, force: 1, insert: 2 } as const;

export interface TrayState {
  readonly isOpen: boolean;
  readonly isLocked: boolean;
  readonly hasDisc: boolean;
  /** Of the disk in a bay. */
  readonly sizeBytes?: number;
}

export type TrayAction =
  | { readonly kind: "eject"; readonly force: boolean }
  /** The tray closes with a disc of this size. */
  | { readonly kind: "insert"; readonly sizeBytes: number };

/** The input channel of the tray of the drive with this disk. */
export function trayChannel(disk: string): string {
  return `${disk}-tray`;
}

export function trayBytes(action: TrayAction): Uint8Array {
  if (action.kind === "eject") return Uint8Array.of(action.force ? ACTION.force : ACTION.eject);
  const bytes = new Uint8Array(9);
  bytes[0] = ACTION.insert;
  new DataView(bytes.buffer).setBigUint64(1, BigInt(action.sizeBytes), true);
  return bytes;
}

/** Undefined: it says nothing that a tray does. */
export function parseTrayAction(bytes: Uint8Array): TrayAction | undefined {
  const [kind] = bytes;
  if (bytes.length === 1 && (kind === ACTION.eject || kind === ACTION.force))
    return { kind: "eject", force: kind === ACTION.force };
  if (bytes.length !== 9 || kind !== ACTION.insert) return undefined;
  const sizeBytes = Number(new DataView(bytes.buffer, bytes.byteOffset, 9).getBigUint64(1, true));
  const isDisc = sizeBytes > 0 && sizeBytes <= MAX_DISC_BYTES && sizeBytes % SECTOR_BYTES === 0;
  return isDisc ? { kind: "insert", sizeBytes } : undefined;
}
