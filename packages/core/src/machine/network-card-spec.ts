/** A network card in a machine's spec. What it is plugged into is handed over beside it; the channel has the device's name. */
import type { StateValue } from "../devices/device.ts";
import { macBytes, NETWORK_LIMITS } from "../devices/network-channel.ts";
import type { StateReader } from "../state/reader.ts";
import { checkFile, type FileReference, fileFields, fileFromState } from "./file-reference.ts";
import { isWhole, SpecError } from "./spec-error.ts";

export const NETWORK_CARD_KINDS = ["virtio-net", "e1000"] as const;
export type NetworkCardKind = (typeof NETWORK_CARD_KINDS)[number];
const MAX_OPTION_ROM_BYTES = 2 ** 20;

export interface NetworkCardSpec {
  readonly kind: NetworkCardKind;
  readonly name: string;
  /** Its address: "52:54:00:12:34:56". */
  readonly mac: string;
  /** Of virtio's: the largest payload of a frame that it takes. */
  readonly mtu: number;
  /** What firmware starts from it with. */
  readonly rom?: FileReference;
  /** Of virtio's: it comes and goes while the machine runs (devices/disk-bays.ts), and is not there at power-on. */
  readonly isInBay?: true;
}

/** Cards that come and go. */
export function isCardInBay(device: { readonly kind: string }): device is NetworkCardSpec & { readonly isInBay: true } {
  return device.kind === "virtio-net" && (device as NetworkCardSpec).isInBay === true;
}

export function isNetworkCard(device: { readonly kind: string }): device is NetworkCardSpec {
  return isNetworkCardKind(device.kind);
}

export function isNetworkCardKind(kind: string): kind is NetworkCardKind {
  return (NETWORK_CARD_KINDS as readonly string[]).includes(kind);
}

export function networkCardFields({ mac, mtu, rom, isInBay }: NetworkCardSpec): { readonly [key: string]: StateValue } {
  return { mac, mtu, rom: rom ? fileFields(rom) : null, ...(isInBay && { isInBay }) };
}

export function networkCardFromState(kind: NetworkCardKind, name: string, reader: StateReader): NetworkCardSpec {
  const card = { kind, name, mac: reader.text("mac", 17), mtu: reader.u16("mtu") };
  const rom = reader.part("rom") === null ? undefined : fileFromState(reader.object("rom"));
  const inBay = reader.has("isInBay") && reader.bool("isInBay");
  reader.end();
  return { ...card, ...(rom ? { rom } : {}), ...(inBay && ({ isInBay: true } as const)) };
}

/** Throws SpecError. */
export function checkNetworkCards(devices: readonly { readonly kind: string }[]): void {
  const cards = devices.filter(isNetworkCard);
  for (const card of cards) checkNetworkCard(card, cards);
}

function checkNetworkCard(card: NetworkCardSpec, cards: readonly NetworkCardSpec[]): void {
  const { kind, name, mac, mtu, rom, isInBay } = card;
  if (isInBay && (kind !== "virtio-net" || rom))
    throw new SpecError("devices", `The network card ${name} cannot come and go: virtio's can, without a ROM.`);
  if (macBytes(mac) === undefined) {
    throw new SpecError(
      "devices",
      `${JSON.stringify(mac)} is no address for the network card ${name}: give six bytes like 52:54:00:12:34:56, the first of them even.`,
    );
  }
  if (cards.some((other) => other.name !== name && other.mac === mac)) {
    throw new SpecError("devices", `Two network cards have the address ${mac}: give each its own.`);
  }
  if (!isWhole(mtu, NETWORK_LIMITS.minMtu, NETWORK_LIMITS.maxMtu)) {
    const { minMtu, maxMtu } = NETWORK_LIMITS;
    throw new SpecError(
      "devices",
      `The network card ${name} cannot have an MTU of ${mtu}: give ${minMtu} to ${maxMtu}.`,
    );
  }
  if (!rom) return;
  checkFile("devices", "network card's ROM", rom);
  if (rom.sizeBytes > 0 && rom.sizeBytes <= MAX_OPTION_ROM_BYTES) return;
  throw new SpecError(
    "devices",
    `A network card's ROM of ${rom.sizeBytes} bytes does not fit. Give one of at most 1 MiB.`,
  );
}
