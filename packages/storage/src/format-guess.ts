/**
 * Which format an image's first bytes look like. A guess is good enough for what a person names on the command line and
 * never for a backing file, whose bytes may be a guest's: there the format is stated.
 * Known by their magic so that they are not taken for raw disks: qcow (1), VMDK, VHDX, VDI, QED, LUKS.
 */

export type GuessedFormat = "qcow2" | "qcow" | "vmdk" | "vhdx" | "vdi" | "qed" | "luks" | "raw";

export const GUESS_BYTES = 512;

const MAGICS: readonly (readonly [GuessedFormat, number, readonly number[]])[] = [
  ["qcow2", 0, [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 2]],
  ["qcow2", 0, [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]],
  ["qcow", 0, [0x51, 0x46, 0x49, 0xfb]],
  ["vmdk", 0, [0x4b, 0x44, 0x4d, 0x56]],
  ["vhdx", 0, [0x76, 0x68, 0x64, 0x78, 0x66, 0x69, 0x6c, 0x65]],
  ["vdi", 64, [0x7f, 0x10, 0xda, 0xbe]],
  ["qed", 0, [0x51, 0x45, 0x44, 0]],
  ["luks", 0, [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe]],
];

export function guessFormat(firstBytes: Uint8Array): GuessedFormat {
  const found = MAGICS.find(([, at, magic]) => magic.every((byte, index) => firstBytes[at + index] === byte));
  return found?.[0] ?? "raw";
}

/** Whether these first bytes would not be taken for a raw image. */
export function looksLikeImage(firstBytes: Uint8Array): boolean {
  return guessFormat(firstBytes) !== "raw";
}
