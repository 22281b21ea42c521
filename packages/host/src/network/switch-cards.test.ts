import type { MachineSpec } from "@twinmetal/core";
import { expect, it } from "vitest";
import type { NetworkOptions } from "./network-protocol.ts";
import { isSwitchCard, sharedCard, switchCards, switchCardsOfSpec } from "./switch-cards.ts";
import { networkDevices } from "./vm-networks.ts";

const networks: readonly NetworkOptions[] = [
  { to: "user" },
  { to: "switch", name: "lab" },
  { to: "switch", name: "lab", mac: "52:54:00:00:00:01" },
];

it("knows the addresses that a VM's cards will have, and those of a machine that exists", () => {
  const made = switchCards(networks, "box");
  const devices = networkDevices(networks, { identity: "box" });
  expect(made).toEqual([
    { switch: "lab", mac: (devices[1] as { mac: string }).mac },
    { switch: "lab", mac: "52:54:00:00:00:01" },
  ]);
  expect(switchCards(networks, undefined)).toEqual([made[1]]);
  const again = networks.map(({ mac: _mac, ...network }) => network);
  expect(switchCardsOfSpec({ devices } as unknown as MachineSpec, again)).toEqual(made);
});

it("finds what two VMs share at one switch, and nothing between two switches", () => {
  const own = [{ switch: "lab", mac: "52:54:00:00:00:01" }];
  expect(sharedCard(own, [{ switch: "lab", mac: "52:54:00:00:00:02" }, ...own])).toEqual(own[0]);
  expect(sharedCard(own, [{ switch: "other", mac: "52:54:00:00:00:01" }])).toBeUndefined();
  expect([own[0], null, 5, { switch: "lab" }].map(isSwitchCard)).toEqual([true, false, false, false]);
});
