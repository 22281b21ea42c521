/** `run [IMAGE]`: what is started, by a name that this program knows or by the path of a file. */
import { parseDisk } from "./disk-choice.ts";
import { UsageError } from "./usage-error.ts";
import type { DiskOptions } from "./vm-library.ts";

export type ImageChoice =
  | { readonly kind: "tiny" }
  /** A full system, made of packages, which its own kernel starts. */
  | { readonly kind: "debian" }
  /** A disk with an operating system, which firmware starts. It is a template: what the guest writes does not go there. */
  | { readonly kind: "disk"; readonly disk: DiskOptions }
  /** A container image in a tar file, whose program runs in the tiny guest. */
  | { readonly kind: "archive"; readonly path: string };

const NAMES = ["tiny", "debian"] as const;
const ARCHIVE_FILE = /\.(?:tar|oci)$/i;
const FOREIGN_FILE = /\.(vmdk|vdi|vhdx?)$/i;
const DISK_FILE = /\.(?:qcow2?|img|raw)$/i;

/** Throws UsageError. */
export function parseImage(text: string): ImageChoice {
  const name = NAMES.find((known) => known === text);
  if (name !== undefined) return { kind: name };
  const [path = ""] = text.split(",", 1);
  if (/\.iso$/i.test(path)) {
    throw new UsageError(`${text} is a disc: twinmetal run --firmware bios --cdrom ${text}`);
  }
  if (ARCHIVE_FILE.test(text)) return { kind: "archive", path: text };
  if (/\.(?:tgz|tar\.[a-z0-9]+)$/i.test(text))
    throw new UsageError(`${text} is compressed: unpack it first, as with gunzip.`);
  const [, other] = FOREIGN_FILE.exec(path) ?? [];
  if (other !== undefined)
    throw new UsageError(
      `${path} is an image for other programs (${other}). Make it one for this: qemu-img convert -O qcow2 ${path} ${path.slice(0, -other.length)}qcow2`,
    );
  if (/\.(?:qcow2?|img|raw|iso)\.[a-z0-9]{2,4}$/i.test(path))
    throw new UsageError(`${path} is compressed: unpack it first, as with xz -d or gunzip.`);
  if (!DISK_FILE.test(path)) {
    const known = `This version has: ${NAMES.join(", ")}; or give the path of a disk, like ${path}.qcow2, or of a container image, like ${path}.tar.`;
    throw new UsageError(`there is no image "${text}". ${known} A command comes after --: twinmetal run -- ${text}`);
  }
  return { kind: "disk", disk: parseDisk(text) };
}

/** Whether this word is an image's, so that a word behind it is a command's. */
export function isImage(text: string): boolean {
  return (
    (NAMES as readonly string[]).includes(text) || DISK_FILE.test(text.split(",", 1)[0]!) || ARCHIVE_FILE.test(text)
  );
}
