/** Disk images in files of the host. */

export { NodeImageFile, type OpenImageFileOptions, openImageFile } from "./node-image-file.ts";
