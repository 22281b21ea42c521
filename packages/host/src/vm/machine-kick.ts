/**
 * How a thread that works for a machine wakes it: by a change of an Int32 cell that the machine waits at, and, where its vCPU is
 * inside the processor, by a kick of that (kvm/kick-cells.ts).
 */
import { createSignal } from "../kvm/kick-cells.ts";

/** Where the machine waits from now on; the VM has a new one after a change of its engine. */
export interface KickPlace {
  readonly type: "kick";
  readonly cells: SharedArrayBuffer;
  /** Of the cell that counts kicks. */
  readonly index: number;
  readonly vcpuCells: SharedArrayBuffer | undefined;
}

/** The machine is kicked at once, too: for what was done since it runs, of which only the one before was told. */
export function kickOf({ cells, index, vcpuCells }: KickPlace): () => void {
  const words = new Int32Array(cells);
  const vcpu = vcpuCells && createSignal(vcpuCells);
  const kick = (): void => {
    Atomics.add(words, index, 1);
    Atomics.notify(words, index);
    vcpu?.kick();
  };
  kick();
  return kick;
}
