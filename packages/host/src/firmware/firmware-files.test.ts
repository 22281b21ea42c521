import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { findFirmware } from "./firmware-files.ts";

const folder = mkdtempSync(join(tmpdir(), "twinmetal-firmware-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function install(root: string, ...paths: string[]): void {
  for (const path of paths) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), "firmware");
  }
}

const CODE = "usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES = "usr/share/OVMF/OVMF_VARS_4M.fd";

describe("firmware by name", () => {
  it("is what is installed, whole", async () => {
    const root = join(folder, "installed");
    const options = { root, cacheDirectory: join(folder, "cache") };
    install(root, CODE);
    expect(await findFirmware("uefi", options)).toBeUndefined();
    install(root, VARIABLES, "usr/share/seabios/bios-256k.bin");
    expect(await findFirmware("uefi", options)).toEqual({ code: join(root, CODE), variables: join(root, VARIABLES) });
    expect(await findFirmware("bios", options)).toEqual({
      code: join(root, "usr/share/seabios/bios-256k.bin"),
      variables: undefined,
    });
  });

  it("is nothing where the cache's copy is not whole", async () => {
    const cacheDirectory = join(folder, "damaged");
    install(join(cacheDirectory, "firmware-seabios-bookworm"), "bios-256k.bin", "image.json");
    expect(await findFirmware("bios", { root: join(folder, "empty"), cacheDirectory })).toBeUndefined();
  });
});
