// SeaBIOS starts iPXE from a network card's ROM, which finds the card and its cable.

import { describe, it } from "vitest";
import { createVm, ImageError, type NetworkModel } from "../../../packages/host/src/index.ts";

describe.each<[NetworkModel, string]>([
  ["virtio", "virtio-net"],
  ["e1000", "82540em"],
])("SeaBIOS with a network card of model %s", { timeout: 120_000 }, (model, driver) => {
  it("starts iPXE from its ROM", async ({ skip }) => {
    const mac = "52:54:00:12:34:56";
    const vm = await createVm({
      firmware: "bios",
      bootOrder: ["net"],
      networks: [{ to: "loopback", model, mac }],
      memoryBytes: 64 * 2 ** 20,
      engine: "jit",
    }).catch((error: unknown) => {
      if (error instanceof ImageError) skip(`SeaBIOS or iPXE cannot be fetched: ${error.message}`);
      throw error;
    });
    await using _vm = vm;
    await vm.start();
    await vm.serial.waitFor(/iPXE initialising devices/, { timeoutMs: 100_000 });
    await vm.serial.waitFor(new RegExp(`net0: ${mac} using ${driver}`), { timeoutMs: 60_000 });
  });
});
