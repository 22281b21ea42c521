/** Disk images in files of the host. */

export { nodeDecoders } from "./decoders.ts";
export { NodeImageFiles, type OpenNodeDiskOptions, openNodeDisk } from "./node-disks.ts";
export { NodeImageFile, type OpenImageFileOptions, openImageFile } from "./node-image-file.ts";
