/**
 * Interprocessor interrupts (Intel SDM vol. 3, 11.6.1): from the low half of the interrupt command register to a message
 * and to whom it goes. As in processors with x2APIC, a lowest-priority IPI is not sent but an error. Nor are the
 * reserved delivery modes 3 and 7, and INIT level de-assert, which only synchronised the arbitration of the serial bus.
 */
import { type ApicBus, type ApicBusMember, type ApicMessage, DELIVERY } from "./apic-bus.ts";
import { ESR, FIRST_LEGAL_VECTOR, ICR } from "./registers.ts";

const SHORTHAND = { SELF: 1, ALL: 2, OTHERS: 3 } as const;
const SENT_MODES: ReadonlySet<number> = new Set([
  DELIVERY.FIXED,
  DELIVERY.SMI,
  DELIVERY.NMI,
  DELIVERY.INIT,
  DELIVERY.STARTUP,
]);

/** The bit of ESR that writing this command sets, or 0. */
export function commandError(icrLow: number): number {
  const mode = (icrLow & ICR.DELIVERY_MODE) >>> 8;
  if (mode === DELIVERY.LOWEST_PRIORITY) return ESR.REDIRECTABLE_IPI;
  return mode === DELIVERY.FIXED && (icrLow & ICR.VECTOR) < FIRST_LEGAL_VECTOR ? ESR.SEND_ILLEGAL_VECTOR : 0;
}

/** Sends what the command says, an illegal vector included: its receivers note the error too. */
export function sendCommand(
  bus: ApicBus,
  sender: ApicBusMember,
  icrLow: number,
  to: { readonly destination: number; readonly isWide: boolean },
): void {
  const deliveryMode = (icrLow & ICR.DELIVERY_MODE) >>> 8;
  if (!SENT_MODES.has(deliveryMode)) return;
  const isDeassert = (icrLow & (ICR.LEVEL_TRIGGERED | ICR.ASSERT)) === ICR.LEVEL_TRIGGERED;
  if (deliveryMode === DELIVERY.INIT && isDeassert) return;
  const message: ApicMessage = {
    ...to,
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
