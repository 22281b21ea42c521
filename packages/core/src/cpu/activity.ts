/**
 * What a vCPU's thread does, as the ACTIVITY_* numbers of cpu/layout.ts say it. By itself, for threads that look at another
 * one's and run no machine.
 */

/** By number. */
export const ACTIVITY_NAMES = ["machine", "interpreter", "regions", "devices", "decoding", "translation"] as const;
