/** The files of a named VM. All that is the VM's own is in its folder, so that it is renamed and removed as a whole. */
import { join } from "node:path";

export interface VmFolder {
  readonly name: string;
  readonly path: string;
  /** vm-spec.ts */
  readonly spec: string;
  /** Held by the VM's process as long as it lives (../image/file-lock.ts). */
  readonly lock: string;
  /** Where its process is asked (../control/control-server.ts). */
  readonly socket: string;
  /** run-record.ts */
  readonly run: string;
  /** What the guest has written on its serial console, as far as that is kept. */
  readonly console: string;
  /** What its process has said. */
  readonly log: string;
  /** What the flash chip of UEFI holds. */
  readonly variables: string;
  /** Has what was written to its disks that lie over others (kept-disks.ts). */
  readonly disks: string;
  /** saved-state.ts, as the next */
  readonly saved: string;
  readonly outgoing: string;
  /** saved-discs.ts */
  readonly discs: string;
}

export function vmFolder(root: string, name: string): VmFolder {
  const path = join(root, name);
  return {
    name,
    path,
    spec: join(path, "vm.json"),
    lock: join(path, "process.lock"),
    socket: join(path, "control"),
    run: join(path, "run.json"),
    console: join(path, "console.log"),
    log: join(path, "process.log"),
    variables: join(path, "firmware.variables"),
    disks: join(path, "disks"),
    saved: join(path, "saved.state"),
    outgoing: join(path, "outgoing.state"),
    discs: join(path, "saved.discs"),
  };
}
