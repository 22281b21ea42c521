/**
 * SeaBIOS starts iPXE from a network card's ROM, which finds the card and its cable, gets an address and a script from a user
 * network, and boots Linux with it: by TFTP from a folder, and by HTTP from a server of the host.
 */
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { createVm, ImageError, type NetworkModel } from "../../../packages/host/src/index.ts";
import { keptTranslations } from "../../kept-translations.ts";
import { tinyGuest } from "../tiny-guest.ts";

const guest = await tinyGuest();
const [kernel, initrd] =
  "missing" in guest
    ? [undefined, undefined]
    : await Promise.all([readFile(guest.image.kernelPath), readFile(guest.image.initrdPath)]);
let folder: string;
let server: Server;
let base: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-pxe-"));
  server = createServer((request, response) => void response.end(request.url === "/kernel" ? kernel : initrd));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://10.0.2.2:${(server.address() as AddressInfo).port}`;
  await writeFile(join(folder, "kernel"), kernel ?? "");
  await writeFile(join(folder, "initrd"), initrd ?? "");
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

/** `driver`: iPXE's, for cards of the model. The kernel comes by `way`, its initrd by the other. */
export function describeNetworkBoot(model: NetworkModel, driver: string, way: "tftp" | "http"): void {
  describe(`SeaBIOS with a network card of model ${model}`, { timeout: 240_000 }, () => {
    it(`starts iPXE from its ROM, which boots Linux, the kernel by ${way}`, async ({ skip }) => {
      if ("missing" in guest) skip(guest.missing);
      const [kernelFrom, initrdFrom] = way === "tftp" ? ["kernel", `${base}/initrd`] : [`${base}/kernel`, "initrd"];
      const bootFile = `${model}.ipxe`;
      await writeFile(
        join(folder, bootFile),
        `#!ipxe\nkernel ${kernelFrom} console=ttyS0\ninitrd --name initrd ${initrdFrom}\nimgstat\nboot\n`,
      );
      const mac = "52:54:00:12:34:56";
      const port = new URL(base).port;
      const vm = await createVm({
        firmware: "bios",
        bootOrder: ["net"],
        networks: [{ to: "user", model, mac, tftp: folder, bootFile, allow: [`host:${port}`] }],
        memoryBytes: 128 * 2 ** 20,
        engine: "jit",
        ...keptTranslations(),
      }).catch((error: unknown) => {
        if (error instanceof ImageError) skip(`SeaBIOS or iPXE cannot be fetched: ${error.message}`);
        throw error;
      });
      await using _vm = vm;
      await vm.start();
      await vm.serial.waitFor(/iPXE initialising devices/, { timeoutMs: 100_000 });
      await vm.serial.waitFor(new RegExp(`net0: ${mac} using ${driver}`), { timeoutMs: 60_000 });
      await vm.serial.waitFor(/Linux version 6/, { timeoutMs: 120_000 });
      // It has found all of its initrd.
      await vm.serial.waitFor(/Run \/init as init process/, { timeoutMs: 120_000 });
    });
  });
}
