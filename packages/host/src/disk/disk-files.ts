/** What the process of a VM opens for its disks: for who locks that process down before. */
import { tmpdir } from "node:os";
import type { FileRule } from "../sandbox/index.ts";
import { asVmError } from "../vm/vm-error.ts";
import type { DiskOptions } from "./disk-protocol.ts";
import { openNodeDisk } from "./node-disks.ts";

/** Backing files are found by looking into the images. Rejects with VmError. */
export async function filesOfDisks(disks: readonly DiskOptions[]): Promise<readonly FileRule[]> {
  const rules: FileRule[] = [];
  for (const { path, format, isReadOnly = false, isEphemeral = false } of disks) {
    try {
      const { disk, chain } = await openNodeDisk(path, { ...(format && { format }), isReadOnly: true, lock: false });
      await disk.close();
      for (const [index, { name }] of chain.entries()) {
        rules.push({ path: name, access: index === 0 && !isReadOnly && !isEphemeral ? "write" : "read" });
      }
    } catch (error) {
      throw asVmError(error);
    }
    if (isEphemeral) rules.push({ path: tmpdir(), access: "create" });
  }
  return rules;
}
