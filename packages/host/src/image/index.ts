/** Guest images that Twinmetal prepares itself. */

export { type CloudInitOptions, ensureCloudInitSeed, type SeedOptions } from "./cloud-init-seed.ts";
export {
  type ContainerImage,
  type ContainerImageOptions,
  type ContainerProgram,
  containerCommand,
  ensureContainerImage,
} from "./container-image.ts";
export { ImageError, type ImageErrorCode } from "./image-error.ts";
export {
  ensureTinyImage,
  type TinyImage,
  type TinyImageOptions,
  type TinyKernel,
  type TinyPhase,
  type TinyProgress,
} from "./tiny-image.ts";
