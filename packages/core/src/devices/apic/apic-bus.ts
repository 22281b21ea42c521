/**
 * The bus between local APICs, IO-APICs and message-signalled interrupts (Intel SDM vol. 3, 11.6, 11.8 and 11.11):
 * finds the local APICs that a message is for, and carries EOI messages of level-triggered vectors back.
 *
 * Lowest-priority delivery goes to the matching processor with the lowest PPR, then to the lowest identifier, so that
 * it is a function of the machine's state. Left out: focus processors, which only the serial bus of the P6 family knew.
 */
import type { MsiMessage } from "../../bus/irq.ts";

/** Values of the three-bit delivery mode field. */
export const DELIVERY = {
  FIXED: 0,
  LOWEST_PRIORITY: 1,
  SMI: 2,
  NMI: 4,
  INIT: 5,
  STARTUP: 6,
  EXTINT: 7,
} as const;

/** 11.11: the fields of a message-signalled interrupt. */
const MSI_ADDRESS = { LOGICAL: 0x4, REDIRECTION_HINT: 0x8 } as const;
const MSI_DATA = { ASSERT: 0x4000, LEVEL_TRIGGERED: 0x8000 } as const;

export interface ApicMessage {
  /** APIC identifier or logical destination. */
  readonly destination: number;
  readonly isLogical: boolean;
  readonly deliveryMode: number;
  readonly vector: number;
  readonly isLevelTriggered: boolean;
  /** The destination has 32 bits: the sender is in x2APIC mode. */
  readonly isWide?: boolean;
}

/** What the bus needs of a local APIC. */
export interface ApicBusMember {
  readonly id: number;
  readonly processorPriority: number;
  isDestination(message: ApicMessage): boolean;
  /** False if this APIC does not take such messages now. */
  accept(message: ApicMessage): boolean;
}

export interface ApicBus {
  /** Sends to whom the message names. False if nobody took it. */
  deliver(message: ApicMessage): boolean;
  /** Sends to all, or to all but one. */
  broadcast(message: ApicMessage, except?: ApicBusMember): void;
  /** A level-triggered vector has been handled. */
  endOfInterrupt(vector: number): void;
}

export class ApicSystemBus implements ApicBus {
  readonly #members: ApicBusMember[] = [];
  readonly #eoiListeners: ((vector: number) => void)[] = [];

  attach(member: ApicBusMember): void {
    this.#members.push(member);
  }

  attachEoiListener(listener: (vector: number) => void): void {
    this.#eoiListeners.push(listener);
  }

  deliver(message: ApicMessage): boolean {
    const targets = this.#members.filter((member) => member.isDestination(message));
    if (message.deliveryMode !== DELIVERY.LOWEST_PRIORITY) {
      let taken = false;
      for (const member of targets) taken = member.accept(message) || taken;
      return taken;
    }
    targets.sort((a, b) => a.processorPriority - b.processorPriority || a.id - b.id);
    return targets.some((member) => member.accept(message));
  }

  broadcast(message: ApicMessage, except?: ApicBusMember): void {
    for (const member of this.#members) if (member !== except) member.accept(message);
  }

  endOfInterrupt(vector: number): void {
    for (const listener of this.#eoiListeners) listener(vector);
  }

  /**
   * GUEST-CONTROLLED: devices send whatever the guest programmed. Messages to other addresses are dropped, and so are
   * those that take a level back. The redirection hint makes a fixed message one of lowest priority.
   */
  readonly msi = ({ address, addressHigh, data }: MsiMessage): void => {
    if (addressHigh !== 0 || address >>> 20 !== 0xfee) return;
    const isLevelTriggered = (data & MSI_DATA.LEVEL_TRIGGERED) !== 0;
    if (isLevelTriggered && (data & MSI_DATA.ASSERT) === 0) return;
    const deliveryMode = (data >>> 8) & 7;
    const isRedirectable = (address & MSI_ADDRESS.REDIRECTION_HINT) !== 0 && deliveryMode === DELIVERY.FIXED;
    this.deliver({
      destination: (address >>> 12) & 0xff,
      isLogical: (address & MSI_ADDRESS.LOGICAL) !== 0,
      deliveryMode: isRedirectable ? DELIVERY.LOWEST_PRIORITY : deliveryMode,
      vector: data & 0xff,
      isLevelTriggered,
    });
  };
}
