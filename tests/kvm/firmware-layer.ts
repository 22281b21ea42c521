/**
 * SeaBIOS and its VGA BIOS for VMs of the nested guest: where a Debian that has the package installed has them, so that
 * nothing is fetched in there.
 */
import { basename } from "node:path";
import { ensureFirmware } from "../../packages/host/src/firmware/firmware-files.ts";

const INSTALLED = "usr/share/seabios";

/** Files of this host by their paths in the guest. Rejects with an ImageError where there is no SeaBIOS. */
export async function firmwareLayer(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const { code, vga } = await ensureFirmware("bios", { signal });
  const files = [code, ...(vga === undefined ? [] : [vga])];
  return new Map(files.map((path) => [`${INSTALLED}/${basename(path)}`, path]));
}
