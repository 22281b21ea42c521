/**
 * The interrupt command register (Intel SDM vol. 3, 11.6.1): from its low half to a message and to whom it goes.
 */
import { type ApicBus, type ApicBusMember, type ApicMessage, DELIVERY } from "./apic-bus.ts";

export const ICR = {
  VECTOR: 0xff,
  DELIVERY_MODE: 0x700,
  LOGICAL: 0x800,
  ASSERT: 0x4000,
  LEVEL_TRIGGERED: 0x8000,
  SHORTHAND: 0xc_0000,
  /** Everything but the read-only delivery status. */
  WRITABLE: 0xc_cfff,
} as const;

const SHORTHAND = { SELF: 1, ALL: 2, OTHERS: 3 } as const;

/** Whether the vector field is a vector, which must be a legal one then. */
export function hasVector(icrLow: number): boolean {
  const mode = (icrLow & ICR.DELIVERY_MODE) >>> 8;
  return mode === DELIVERY.FIXED || mode === DELIVERY.LOWEST_PRIORITY;
}

/** Sends what the command says. `destination` is in the form of the sender's mode. */
export function sendCommand(bus: ApicBus, sender: ApicBusMember, icrLow: number, destination: number): void {
  const deliveryMode = (icrLow & ICR.DELIVERY_MODE) >>> 8;
  // INIT level de-assert only synchronised the arbitration of old bus APICs.
  const isDeassert = (icrLow & (ICR.LEVEL_TRIGGERED | ICR.ASSERT)) === ICR.LEVEL_TRIGGERED;
  if (deliveryMode === DELIVERY.INIT && isDeassert) return;
  const message: ApicMessage = {
    destination,
    isLogical: (icrLow & ICR.LOGICAL) !== 0,
    deliveryMode,
    vector: icrLow & ICR.VECTOR,
    isLevelTriggered: false,
  };
  switch ((icrLow & ICR.SHORTHAND) >>> 18) {
    case SHORTHAND.SELF:
      if (deliveryMode === DELIVERY.FIXED) sender.accept(message);
      break;
    case SHORTHAND.ALL:
      bus.broadcast(message);
      break;
    case SHORTHAND.OTHERS:
      bus.broadcast(message, sender);
      break;
    default:
      bus.deliver(message);
  }
}
