/** Folders of the host that guests share. */

export type { ShareOptions, ShareType } from "./share-protocol.ts";
export { filesOfShares } from "./vm-shares.ts";
