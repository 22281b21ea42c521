/** Copy-on-write: an image that holds what was written since, over another one that is only read from then on. */
import { randomBytes } from "node:crypto";
import { realpath, rename, rm, stat } from "node:fs/promises";
import { asVmError } from "../vm/vm-error.ts";
import type { DiskOptions } from "./disk-protocol.ts";
import { createImage } from "./image-operations.ts";
import { statedFormat } from "./open-vm-disk.ts";

/** What an overlay lies over. `name`: how the overlay names it; default: by where it really is. */
export interface OverlayBase extends Pick<DiskOptions, "path" | "format"> {
  readonly name?: string;
}

/** Makes a qcow2 image at `path`, in place of what is there, all at once. Rejects with VmError. */
export async function makeOverlay(path: string, base: OverlayBase): Promise<void> {
  const aside = `${path}.new-${randomBytes(4).toString("hex")}`;
  try {
    const format = statedFormat(base);
    await createImage(aside, { backing: { path: base.name ?? (await realpath(base.path)), format } });
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw asVmError(error);
  }
}

/** Makes it where there is none. */
export async function ensureOverlay(path: string, base: OverlayBase): Promise<void> {
  if (!(await stat(path).catch(() => undefined))) await makeOverlay(path, base);
}
