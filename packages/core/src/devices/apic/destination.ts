/**
 * Whom a message is for (Intel SDM vol. 3, 11.6.2, 11.7 and 11.12.10): physical identifiers, logical identifiers in the
 * flat and cluster models of xAPIC mode and in x2APIC mode, broadcasts. IO-APICs, devices and senders in xAPIC mode have
 * eight bits of destination; a sender in x2APIC mode has 32.
 */
import type { ApicMessage } from "./apic-bus.ts";

const BROADCAST = 0xff;
const WIDE_BROADCAST = 0xffff_ffff;
const DFR_FLAT = 0xf;

/** How a local APIC can be addressed. */
export interface ApicAddress {
  readonly id: number;
  readonly isX2apic: boolean;
  /** As the guest reads them in its mode. */
  readonly ldr: number;
  readonly dfr: number;
}

/** In x2APIC mode the logical identifier follows from the physical one: cluster, and one bit of 16. */
export function x2apicLogicalId(id: number): number {
  return (((id >>> 4) << 16) | (1 << (id & 0xf))) >>> 0;
}

export function isAddressed(address: ApicAddress, { destination, isLogical, isWide }: ApicMessage): boolean {
  if (destination === (isWide ? WIDE_BROADCAST : BROADCAST)) return true;
  if (!isLogical) return destination === address.id;
  const { ldr } = address;
  if (address.isX2apic) return destination >>> 16 === ldr >>> 16 && (destination & ldr & 0xffff) !== 0;
  if (destination > 0xff) return false;
  const logicalId = ldr >>> 24;
  if (address.dfr >>> 28 === DFR_FLAT) return (destination & logicalId) !== 0;
  return destination >>> 4 === logicalId >>> 4 && (destination & logicalId & 0xf) !== 0;
}
