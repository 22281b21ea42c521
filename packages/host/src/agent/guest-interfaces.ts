/** Network cards as a guest tells of them. GUEST-CONTROLLED: what is no address is left out, and the rest is bounded. */
import { isIP } from "node:net";
import { printable } from "./agent-error.ts";
import type { GuestAddress, GuestInterface } from "./guest-agent.ts";

const MAX_INTERFACES = 256;
const MAX_ADDRESSES = 256;
const MAX_NAME_LENGTH = 64;
const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;

export interface ToldAddress {
  readonly address: string;
  readonly prefixLength: number;
}

export class InterfaceList {
  readonly #byName = new Map<string, { mac: string | undefined; addresses: GuestAddress[] }>();

  add(name: string, mac: string | undefined, addresses: readonly ToldAddress[]): void {
    const shown = printable(name.slice(0, MAX_NAME_LENGTH));
    const known = this.#byName.get(shown);
    if (known === undefined && (shown === "" || this.#byName.size >= MAX_INTERFACES)) return;
    const entry = known ?? { mac: undefined, addresses: [] };
    this.#byName.set(shown, entry);
    const lowerMac = mac?.toLowerCase() ?? "";
    if (MAC.test(lowerMac)) entry.mac = lowerMac;
    for (const { address, prefixLength } of addresses) {
      const kind = isIP(address);
      const most = kind === 4 ? 32 : 128;
      const isPrefix = Number.isInteger(prefixLength) && prefixLength >= 0 && prefixLength <= most;
      if (kind === 0 || !isPrefix || entry.addresses.length >= MAX_ADDRESSES) continue;
      entry.addresses.push({ family: kind === 4 ? "ipv4" : "ipv6", address, prefixLength });
    }
  }

  list(): GuestInterface[] {
    return [...this.#byName].map(([name, { mac, addresses }]) => ({ name, mac, addresses }));
  }
}
