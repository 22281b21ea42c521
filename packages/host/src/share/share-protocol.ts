/** What the VM object and the thread that has its shared folders (share-worker.ts) say to each other. */
import type { KickPlace } from "../vm/machine-kick.ts";
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

export type SharesQuestion =
  | { readonly type: "open" }
  /** Carries out what was submitted and closes the folders; requests wait until "open". */
  | { readonly type: "suspend" };

export type ToShares = KickPlace | (SharesQuestion & { readonly id: number });
