/**
 * Firmware for VMs of the nested guest, SeaBIOS with its VGA BIOS or OVMF: where a Debian that has the package installed has
 * it, so that nothing is fetched in there.
 */
import { basename } from "node:path";
import { ensureFirmware, type FirmwareKind } from "../../packages/host/src/firmware/firmware-files.ts";

const INSTALLED: Readonly<Record<FirmwareKind, string>> = { bios: "usr/share/seabios", uefi: "usr/share/OVMF" };

/** Files of this host by their paths in the guest. Rejects with an ImageError where one cannot be had. */
export async function firmwareLayer(
  kinds: ReadonlySet<FirmwareKind>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const kind of kinds) {
    const { code, variables, vga } = await ensureFirmware(kind, { signal });
    for (const path of [code, variables, vga])
      if (path !== undefined) files.set(`${INSTALLED[kind]}/${basename(path)}`, path);
  }
  return files;
}
