/** What the VM object and the thread that has its shared folders (share-worker.ts) say to each other. */
import type { PlainError } from "../vm/vm-error.ts";
import type { ShareRing } from "./share-ring.ts";

/** A folder of the host's that a guest uses, as its user asks for it. */
export interface ShareOptions {
  /** The folder. */
  readonly path: string;
  /** By which the guest mounts it: up to 31 letters, digits, ".", "_" and "-". Default: the folder's own. */
  readonly name?: string;
  /** The guest can change nothing. Default: false; of a VM that exists, as it was. */
  readonly isReadOnly?: boolean;
  /** How the guest reaches it. Default: "virtiofs". Of a VM that exists, its own. */
  readonly type?: ShareType;
}

export const SHARE_TYPES = ["virtiofs", "9p"] as const;
export type ShareType = (typeof SHARE_TYPES)[number];

export interface ShareThreadStart {
  readonly folders: readonly { readonly path: string; readonly isReadOnly: boolean }[];
  readonly ring: ShareRing;
}

export type ToShares =
  /** As the disks' (disk-protocol.ts). */
  | {
      readonly type: "kick";
      readonly cells: SharedArrayBuffer;
      readonly index: number;
      readonly vcpuCells: SharedArrayBuffer | undefined;
    }
  | { readonly type: "open"; readonly id: number }
  /** Carries out what was submitted and closes the folders; requests wait until "open". */
  | { readonly type: "suspend"; readonly id: number };

export interface FromShares {
  readonly type: "reply";
  readonly id: number;
  readonly error?: PlainError;
}
