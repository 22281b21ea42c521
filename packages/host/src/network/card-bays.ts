/**
 * Network cards that come and go while a VM runs, in its bays (core's devices/disk-bays.ts): the cable is in before the guest
 * hears of the card, and out when it has let the card go.
 */
import { DISK_LIMITS, isCardInBay, isNetworkCard, type MachineSpec } from "@twinmetal/core";
import { type AtTray, letGo } from "../disk/let-go.ts";
import { VmError } from "../vm/vm-error.ts";
import type { NetworkOptions } from "./network-protocol.ts";
import type { NetworkThread } from "./network-thread.ts";
import { checkNetworks } from "./vm-networks.ts";

export interface CardChanging {
  readonly spec: MachineSpec;
  readonly cards: Pick<NetworkThread, "change" | "networks"> | undefined;
  readonly tray: AtTray;
}

/** Rejects with VmError. */
export async function plugCard(changing: CardChanging, card: string, options: NetworkOptions): Promise<void> {
  checkNetworks([options]);
  if ((options.mac ?? options.mtu ?? options.model) !== undefined)
    throw new VmError("bad-option", "A card in a bay has its address and its MTU from the start. Leave them out.");
  const { cards, index } = bayOf(changing, card);
  // The guest's machine hears of a card in a moment only.
  const isThere = cards.networks[index]?.to !== "nothing" || !(await changing.tray(card))?.isOpen;
  if (isThere) throw new VmError("bad-state", `The card ${card} is in its bay already. Take it out first.`);
  await cards.change(index, options);
  await changing.tray(card, { kind: "insert", sizeBytes: DISK_LIMITS.minBytes });
}

/** Resolves when the guest has let it go. Rejects with VmError, "timeout" when it has not within 30 s. */
export async function unplugCard(changing: CardChanging, card: string): Promise<void> {
  const { cards, index } = bayOf(changing, card);
  await letGo(changing.tray, card, "network card", "Try again");
  await cards.change(index, { to: "nothing" });
}

/** Their names: of those that lead anywhere. */
export function cardsInBays({ spec, cards }: CardChanging): readonly string[] {
  const leads = (index: number): boolean => (cards?.networks[index]?.to ?? "nothing") !== "nothing";
  return spec.devices
    .filter(isNetworkCard)
    .flatMap((card, index) => (isCardInBay(card) && leads(index) ? [card.name] : []));
}

function bayOf({ spec, cards }: CardChanging, name: string) {
  const all = spec.devices.filter(isNetworkCard);
  const index = all.findIndex((card) => card.name === name && isCardInBay(card));
  if (index >= 0 && cards) return { cards, index };
  const bays = all.filter(isCardInBay).map((card) => card.name);
  const known = bays.length > 0 ? `It has: ${bays.join(", ")}.` : "Start it with some (--net-bays).";
  throw new VmError("bad-option", `The VM has no bay ${JSON.stringify(name)} for a network card. ${known}`);
}
