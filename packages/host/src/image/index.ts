/** Guest images that Twinmetal prepares itself. */

export { ImageError, type ImageErrorCode } from "./image-error.ts";
export {
  ensureTinyImage,
  type TinyImage,
  type TinyImageOptions,
  type TinyKernel,
  type TinyPhase,
  type TinyProgress,
} from "./tiny-image.ts";
