/** A file system's tree in memory: what is written into an image, and what layers are laid over each other in. */

interface NodeAttributes {
  /** The twelve bits of permissions. */
  mode: number;
  uid: number;
  gid: number;
  /** Since 1970; the image keeps 32 bits of it. */
  mtimeSeconds: number;
}

export interface DirectoryNode extends NodeAttributes {
  readonly type: "directory";
  /** Names hold neither "/" nor a zero byte, and have 1 to 255 bytes in UTF-8. */
  readonly children: Map<string, TreeNode>;
}

export interface FileNode extends NodeAttributes {
  readonly type: "file";
  readonly sizeBytes: number;
  /** Fills `into` with the bytes from `offset` on. */
  readonly read: (offset: number, into: Uint8Array) => Promise<void>;
}

export interface SymlinkNode extends NodeAttributes {
  readonly type: "symlink";
  /** At most 4095 bytes. */
  readonly target: string;
}

export interface SpecialNode extends NodeAttributes {
  readonly type: "character-device" | "block-device" | "fifo" | "socket";
  readonly major: number;
  readonly minor: number;
}

/** One that is in several directories is one file with as many names. */
export type TreeNode = DirectoryNode | FileNode | SymlinkNode | SpecialNode;

export function newDirectory(mode = 0o755): DirectoryNode {
  return { type: "directory", mode, uid: 0, gid: 0, mtimeSeconds: 0, children: new Map() };
}
