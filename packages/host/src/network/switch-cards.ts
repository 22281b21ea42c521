/**
 * The network cards of a VM that are at switches, and their addresses: a switch sends frames to the place where it has last seen
 * an address, so that no two VMs that run may have the same one there.
 */
import { isNetworkCard, type MachineSpec } from "@twinmetal/core";
import type { NetworkOptions } from "./network-protocol.ts";
import { defaultMac } from "./vm-networks.ts";

export interface SwitchCard {
  readonly switch: string;
  readonly mac: string;
}

export function isSwitchCard(value: unknown): value is SwitchCard {
  const { switch: name, mac } = (value ?? {}) as Record<string, unknown>;
  return typeof name === "string" && typeof mac === "string";
}

/** Of a VM that is made. `identity`: its name, or else its seed; undefined: by chance, and so nobody else's. */
export function switchCards(networks: readonly NetworkOptions[], identity: string | undefined): readonly SwitchCard[] {
  return joined(networks, (index) => (identity === undefined ? undefined : defaultMac(identity, index)));
}

/** Of a machine that exists: its addresses are its own, whatever it is called. */
export function switchCardsOfSpec(
  { devices }: MachineSpec,
  networks: readonly NetworkOptions[],
): readonly SwitchCard[] {
  const cards = devices.filter(isNetworkCard);
  return joined(
    networks.map(({ mac: _mac, ...network }) => network),
    (index) => cards[index]?.mac,
  );
}

function joined(
  networks: readonly NetworkOptions[],
  own: (index: number) => string | undefined,
): readonly SwitchCard[] {
  return networks.flatMap(({ to, name, mac = undefined }, index) => {
    const address = mac ?? own(index);
    return to === "switch" && name !== undefined && address !== undefined ? [{ switch: name, mac: address }] : [];
  });
}

/** The first that both have. */
export function sharedCard(a: readonly SwitchCard[], b: readonly SwitchCard[]): SwitchCard | undefined {
  return a.find((card) => b.some((other) => other.switch === card.switch && other.mac === card.mac));
}
