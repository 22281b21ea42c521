/** Disk images in files of the host. */

export { type ConvertImageOptions, convertImage } from "./convert-image.ts";
export { nodeDecoders } from "./decoders.ts";
export { filesOfDisks } from "./disk-files.ts";
export { DISK_LIMIT_RANGES, type VmDisks } from "./disk-limits.ts";
export type { DiskBus, DiskLimits, DiskOptions, DiskProblem, DiskUsage } from "./disk-protocol.ts";
export { firmwareOfImage } from "./image-firmware.ts";
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
