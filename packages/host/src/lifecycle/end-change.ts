/** What is changed about the end of a VM that stays, while its process runs: what follows it, and when its life is over. */
import type { RebootAction } from "@twinmetal/core";

export interface EndChange {
  readonly onCrash?: "stop" | "restart" | "pause";
  readonly onPoweroff?: "stop" | "restart";
  readonly onReboot?: RebootAction;
  /** A time; null: it lives for ever. */
  readonly expiresAt?: string | null;
}

const WORDS: Readonly<Record<string, readonly string[]>> = {
  onCrash: ["stop", "restart", "pause"],
  onPoweroff: ["stop", "restart"],
  onReboot: ["restart", "stop"],
};

/** Of what came as JSON. */
export function isEndChange(value: unknown): value is EndChange {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(([key, part]) => {
    if (key === "expiresAt") return part === null || (typeof part === "string" && !Number.isNaN(Date.parse(part)));
    return Object.hasOwn(WORDS, key) && WORDS[key]!.includes(part as string);
  });
}
