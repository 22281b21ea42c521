import type { MachineSpec, TrayAction } from "@twinmetal/core";
import { expect, it } from "vitest";
import type { TrayReport } from "../disk/let-go.ts";
import { type CardChanging, cardsInBays, plugCard, unplugCard } from "./card-bays.ts";
import type { NetworkOptions } from "./network-protocol.ts";
import { networkDevices } from "./vm-networks.ts";

function setUp() {
  const networks: NetworkOptions[] = [{ to: "user" }, { to: "nothing" }, { to: "nothing" }];
  const events: unknown[] = [];
  let isOpen = true;
  const changing: CardChanging = {
    spec: { devices: networkDevices([{ to: "user" }], { identity: "box", bays: 2 }) } as unknown as MachineSpec,
    cards: {
      networks,
      change: async (card, options) => {
        events.push([card, options.to]);
        networks[card] = options;
      },
    },
    tray: async (card, action?: TrayAction): Promise<TrayReport> => {
      const before = isOpen;
      if (action) {
        events.push([card, action.kind]);
        isOpen = action.kind === "eject";
      }
      return { isOpen: before, isLocked: false, hasDisc: !before, isWaiting: false };
    },
  };
  return { changing, events };
}

it("plugs the cable in before the guest hears of the card, and pulls it out when it has let the card go", async () => {
  const { changing, events } = setUp();
  await plugCard(changing, "net2", { to: "switch", name: "lab" });
  expect([events, cardsInBays(changing)]).toEqual([
    [
      [2, "switch"],
      ["net2", "insert"],
    ],
    ["net2"],
  ]);
  await expect(plugCard(changing, "net2", { to: "loopback" })).rejects.toMatchObject({ code: "bad-state" });
  await unplugCard(changing, "net2");
  expect([events.slice(2), cardsInBays(changing)]).toEqual([
    [
      ["net2", "eject"],
      [2, "nothing"],
    ],
    [],
  ]);
});

it("knows its bays, and what a card in one may have", async () => {
  const { changing, events } = setUp();
  for (const card of ["net0", "net3", "disk0"])
    await expect(plugCard(changing, card, { to: "loopback" })).rejects.toThrow("It has: net1, net2.");
  await expect(unplugCard(changing, "net0")).rejects.toMatchObject({ code: "bad-option" });
  await expect(plugCard(changing, "net1", { to: "loopback", mtu: 9000 })).rejects.toThrow("from the start");
  await expect(plugCard(changing, "net1", { to: "switch" })).rejects.toThrow("is no name of a switch");
  expect(events).toEqual([]);
});
