/** A full Debian, made of packages. */
export {
  type DebianImage,
  type DebianImageOptions,
  type DebianPhase,
  type DebianProgress,
  ensureDebianImage,
  openDebianImage,
} from "./debian-image.ts";
export { keptDebian } from "./kept-debian.ts";
