/** A shared folder in a machine's spec: a device and the tag that its guest mounts. Which folder of the host it is, is the host's business. */
import type { StateValue } from "../devices/device.ts";
import type { StateReader } from "../state/reader.ts";
import { SpecError } from "./spec-error.ts";

export const SHARE_KINDS = ["virtio-fs", "virtio-9p"] as const;
export type ShareKind = (typeof SHARE_KINDS)[number];
const MAX_TAG = 31;

/** The files are handed over beside the spec; the channel has the device's name. */
export interface ShareSpec {
  readonly kind: ShareKind;
  readonly name: string;
  readonly tag: string;
  /** Refused by what has the files; the guest finds out when it writes. */
  readonly isReadOnly: boolean;
}

export function isShare(device: { readonly kind: string }): device is ShareSpec {
  return isShareKind(device.kind);
}

export function isShareKind(kind: string): kind is ShareKind {
  return (SHARE_KINDS as readonly string[]).includes(kind);
}

export function isShareTag(tag: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,30}$/.test(tag);
}

export function shareFields({ tag, isReadOnly }: ShareSpec): { readonly [key: string]: StateValue } {
  return { tag, isReadOnly };
}

export function shareFromState(kind: ShareKind, name: string, reader: StateReader): ShareSpec {
  const share = { kind, name, tag: reader.text("tag", MAX_TAG), isReadOnly: reader.bool("isReadOnly") };
  reader.end();
  return share;
}

/** Throws SpecError. */
export function checkShares(devices: readonly { readonly kind: string }[]): void {
  const tags = new Set<string>();
  for (const { name, tag } of devices.filter(isShare)) {
    if (!isShareTag(tag)) {
      throw new SpecError(
        "devices",
        `${JSON.stringify(tag)} is no name for the shared folder ${name}: give up to ${MAX_TAG} letters, digits, ".", "_" and "-".`,
      );
    }
    if (tags.has(tag)) throw new SpecError("devices", `Two shared folders are named ${tag}: give each its own name.`);
    tags.add(tag);
  }
}
