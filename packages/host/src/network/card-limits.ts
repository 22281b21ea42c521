/** Limits of a card's wire, as a caller gives them: what is possible. */
import { WIRE_LIMITS, type WireLimits } from "@twinmetal/network";
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
  for (const [name, value] of Object.entries(limits) as [string, unknown][]) {
    const range = Object.hasOwn(WIRE_LIMITS, name) ? WIRE_LIMITS[name as keyof WireLimits] : undefined;
    if (!range) {
      throw new VmError("bad-option", `A wire has no ${name}. It has ${Object.keys(WIRE_LIMITS).join(", ")}.`);
    }
    const isPossible = typeof value === "number" && value >= range[0] && value <= range[1];
    if (value !== undefined && !isPossible) {
      throw new VmError("bad-option", `A wire's ${name} is from ${range[0]} to ${range[1]}, not ${String(value)}.`);
    }
  }
  const { bytesPerSecond, burstBytes, latencyMs = 0, jitterMs = 0 } = limits;
  if (jitterMs > latencyMs) {
    throw new VmError("bad-option", `A latency of ${latencyMs} ms cannot vary by ${jitterMs} ms: give less jitterMs.`);
  }
  if (burstBytes !== undefined && bytesPerSecond === undefined) {
    throw new VmError("bad-option", "A wire's burstBytes go with its bytesPerSecond: give that, too.");
  }
}
