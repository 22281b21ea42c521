/** `--share HOSTDIR[:NAME][,ro][,type=virtiofs|9p]`: a folder of the host's in the guest. What a path holds of commas and colons is its own. */
import { isShareTag } from "@twinmetal/core";
import { listOption } from "./options.ts";
import { UsageError } from "./usage-error.ts";
import type { ShareOptions } from "./vm-library.ts";
import { takeWordsBehind } from "./words-behind.ts";

const TYPES = ["virtiofs", "9p"] as const;

export const SHARE = listOption(
  "share",
  "HOSTDIR[:NAME][,...]",
  "A folder of this host in the guest, by its own name or by NAME; may be repeated. The tiny image mounts it at /share/NAME, other guests with: mount -t virtiofs NAME /mnt. With ,ro the guest can change nothing; with ,type=9p: mount -t 9p -o trans=virtio,version=9p2000.L NAME /mnt. See docs/guide/sharing-files.md.",
  parseShare,
  "v",
);

/** Throws UsageError. */
export function parseShare(text: string): ShareOptions {
  const share: { path: string; name?: string; isReadOnly?: boolean; type?: (typeof TYPES)[number] } = { path: "" };
  const place = takeWordsBehind(text, (word) => {
    if (word === "ro") share.isReadOnly = true;
    else if (word === "rw") share.isReadOnly = false;
    else if (word.startsWith("type=")) {
      const type = TYPES.find((known) => `type=${known}` === word);
      if (type === undefined) throw new UsageError(`there is no ${word}. Possible: ${TYPES.join(", ")}.`);
      share.type = type;
    } else if (/^[a-z]+=/.test(word)) {
      throw new UsageError(`"${word}" is nothing that a shared folder has. Possible: ro, rw, type=.`);
    } else return false;
    return true;
  });
  const [, host, guest] = /^(.+):(\/[^:]*)(?::(?:ro|rw))?$/.exec(place) ?? [];
  if (host !== undefined && guest !== undefined && host.length > 1)
    throw new UsageError(
      `"${guest}" is a path, and a folder has a name in the guest: --share ${host}:${baseOf(guest)}, with ,ro behind it for one that is only read. The tiny image has it at /share/${baseOf(guest)}.`,
    );
  const colon = place.lastIndexOf(":");
  const name = colon < 0 ? "" : place.slice(colon + 1);
  // "C:/x" and "a:b/c" are paths.
  const isNamed = colon >= 0 && !name.includes("/");
  share.path = isNamed ? place.slice(0, colon) : place;
  if (share.path === "") throw new UsageError("which folder? Give its path first: --share HOSTDIR.");
  if (isNamed && (name === "ro" || name === "rw"))
    throw new UsageError(`":${name}" names the folder: write it behind a comma, --share ${share.path},${name}.`);
  if (isNamed) {
    if (!isShareTag(name)) {
      throw new UsageError(
        `"${name}" is no name for a shared folder: give up to 31 letters, digits, ".", "_" and "-", as in --share ${share.path}:work.`,
      );
    }
    share.name = name;
  }
  return share;
}

function baseOf(path: string): string {
  return path.split("/").findLast((part) => isShareTag(part)) ?? "work";
}

/** What parseShare reads as the same. */
export function shareText({ path, name, isReadOnly, type }: ShareOptions): string {
  const place = name === undefined ? path : `${path}:${name}`;
  return [place, isReadOnly && "ro", isReadOnly === false && "rw", type && `type=${type}`].filter(Boolean).join(",");
}
