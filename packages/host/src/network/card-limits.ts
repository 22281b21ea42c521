/** Limits of a card's wire, as a caller gives them: what is possible. */
import { WIRE_LIMITS, type WireLimits } from "@twinmetal/network";
import { checkRanges } from "../resources/limit-ranges.ts";
import { VmError } from "../vm/vm-error.ts";
import type { CardLimits } from "./network-protocol.ts";

/** Throws VmError. */
export function checkLimits(limits: CardLimits): void {
  for (const [way, given] of Object.entries(limits) as [string, WireLimits | undefined][]) {
    if (way !== "toGuest" && way !== "fromGuest") {
      throw new VmError("bad-option", `A card has limits toGuest and fromGuest, and none called ${way}.`);
    }
    checkWire(given ?? {});
  }
}

function checkWire(limits: WireLimits): void {
  checkRanges("A wire", limits, WIRE_LIMITS);
  const { bytesPerSecond, burstBytes, latencyMs = 0, jitterMs = 0 } = limits;
  if (jitterMs > latencyMs) {
    throw new VmError("bad-option", `A latency of ${latencyMs} ms cannot vary by ${jitterMs} ms: give less jitterMs.`);
  }
  if (burstBytes !== undefined && bytesPerSecond === undefined) {
    throw new VmError("bad-option", "A wire's burstBytes go with its bytesPerSecond: give that, too.");
  }
}
