/**
 * The core module that tools/core-image.mjs makes after each build, as base64 in pieces: this file's output is written over. As it
 * stands here, where sources run as they are, there is none. A function: who never calls it does not keep the pieces.
 */
export const image = (): readonly string[] => [];
/** The only byte that depends on whether the memory is shared; the image is for a shared one. */
export const LIMITS_AT: number = 0;
/** Names the core's sources, all of them. */
export const BUILD: string = "";
