/**
 * Which frames a card's driver has asked for, by their destination (virtio 1.2, 5.1.6.5.1 and 2). Lists are bounded: what is
 * beyond them lets all addresses of its kind through, and the driver sorts them itself. Before a driver has said anything,
 * everything comes.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { MAC_BYTES } from "../network-channel.ts";

const MAX_ADDRESSES = 64;
const LISTS = ["unicast", "multicast"] as const;

const MODES = ["promiscuous", "allMulticast", "allUnicast", "noMulticast", "noUnicast", "noBroadcast"] as const;
export type FilterMode = (typeof MODES)[number];

export class ReceiveFilter {
  readonly #modes = new Set<FilterMode>();
  readonly #lists: Record<(typeof LISTS)[number], Set<string>> = { unicast: new Set(), multicast: new Set() };
  /** A list was longer than what is kept. */
  readonly #overflowing = new Set<(typeof LISTS)[number]>();

  constructor() {
    this.reset();
  }

  reset(): void {
    this.#modes.clear();
    this.#modes.add("promiscuous");
    this.#overflowing.clear();
    for (const list of LISTS) this.#lists[list].clear();
  }

  set(mode: FilterMode, isOn: boolean): void {
    if (isOn) this.#modes.add(mode);
    else this.#modes.delete(mode);
  }

  /** `addresses`: as many as fit, one behind the other; `count`: as many as the driver has. */
  setList(list: (typeof LISTS)[number], addresses: Uint8Array, count: number): void {
    const kept = this.#lists[list];
    kept.clear();
    if (count > MAX_ADDRESSES) this.#overflowing.add(list);
    else this.#overflowing.delete(list);
    for (let i = 0; i < Math.min(count, MAX_ADDRESSES); i++) kept.add(addressAt(addresses, MAC_BYTES * i));
  }

  /** `own`: the card's address. */
  accepts(frame: Uint8Array, own: Uint8Array): boolean {
    const has = (mode: FilterMode): boolean => this.#modes.has(mode);
    if (has("promiscuous")) return true;
    const isGroup = (frame[0]! & 1) !== 0;
    if (isGroup && isBroadcast(frame)) return !has("noBroadcast");
    const list = isGroup ? "multicast" : "unicast";
    if (has(isGroup ? "noMulticast" : "noUnicast")) return false;
    if (has(isGroup ? "allMulticast" : "allUnicast") || this.#overflowing.has(list)) return true;
    if (!isGroup && own.every((byte, i) => frame[i] === byte)) return true;
    return this.#lists[list].size > 0 && this.#lists[list].has(addressAt(frame, 0));
  }

  save(): StateValue {
    return {
      modes: MODES.filter((mode) => this.#modes.has(mode)),
      overflowing: LISTS.filter((list) => this.#overflowing.has(list)),
      unicast: [...this.#lists.unicast],
      multicast: [...this.#lists.multicast],
    };
  }

  /** Throws StateError; the caller then resets. */
  restore(reader: StateReader): void {
    this.#modes.clear();
    this.#overflowing.clear();
    for (const text of reader.texts("modes", MODES.length, 16)) {
      const mode = MODES.find((known) => known === text);
      if (!mode || this.#modes.has(mode)) throw reader.invalid("modes", "has one that is none, or twice");
      this.#modes.add(mode);
    }
    for (const text of reader.texts("overflowing", LISTS.length, 16)) {
      const list = LISTS.find((known) => known === text);
      if (!list || this.#overflowing.has(list))
        throw reader.invalid("overflowing", "has a list that is none, or twice");
      this.#overflowing.add(list);
    }
    for (const list of LISTS) {
      const kept = this.#lists[list];
      kept.clear();
      for (const address of reader.texts(list, MAX_ADDRESSES, 2 * MAC_BYTES)) {
        if (!/^[0-9a-f]{12}$/.test(address) || kept.has(address)) {
          throw reader.invalid(list, "has an address that is none, or twice");
        }
        kept.add(address);
      }
    }
    reader.end();
  }
}

function isBroadcast(frame: Uint8Array): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (frame[i] !== 0xff) return false;
  return true;
}

function addressAt(bytes: Uint8Array, at: number): string {
  let text = "";
  for (let i = 0; i < MAC_BYTES; i++) text += (bytes[at + i] ?? 0).toString(16).padStart(2, "0");
  return text;
}
