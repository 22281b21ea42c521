/** Disk images in files of the host. */

export { type ConvertImageOptions, convertImage } from "./convert-image.ts";
export { nodeDecoders } from "./decoders.ts";
export { filesOfDisks } from "./disk-files.ts";
export type { DiskBus, DiskOptions, DiskProblem } from "./disk-protocol.ts";
export {
  type CheckImageOptions,
  type CreateImageOptions,
  checkImage,
  createImage,
  growImage,
  type ImageInfo,
  imageInfo,
} from "./image-operations.ts";
export { NodeImageFiles, type OpenNodeDiskOptions, openNodeDisk } from "./node-disks.ts";
export { NodeImageFile, type OpenImageFileOptions, openImageFile } from "./node-image-file.ts";
