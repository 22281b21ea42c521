/**
 * Network cards that come and go while a VM runs, in its bays (core's devices/disk-bays.ts): the cable is in before the guest
 * hears of the card, and out when it has let the card go.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  DISK_LIMITS,
  isCardInBay,
  isNetworkCard,
  type MachineSpec,
  type TrayAction,
  type TrayState,
} from "@twinmetal/core";
import { VmError } from "../vm/vm-error.ts";
import type { NetworkOptions } from "./network-protocol.ts";
import type { NetworkThread } from "./network-thread.ts";
import { checkNetworks } from "./vm-networks.ts";

const LET_GO_MS = 30_000;
const LOOK_MS = 50;

export interface CardChanging {
  readonly spec: MachineSpec;
  readonly cards: Pick<NetworkThread, "change" | "networks"> | undefined;
  /** At the bay; the state that it was in. */
  tray(card: string, action?: TrayAction): Promise<TrayState | undefined>;
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
  await changing.tray(card, { kind: "eject", force: false });
  for (const deadlineMs = performance.now() + LET_GO_MS; !(await changing.tray(card))?.isOpen; await sleep(LOOK_MS)) {
    if (performance.now() < deadlineMs) continue;
    throw new VmError(
      "timeout",
      `The guest has not let go of the network card ${card} within ${LET_GO_MS / 1000} s. Try again; a guest that is not up yet, or has no ACPI, does not hear of it.`,
    );
  }
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
