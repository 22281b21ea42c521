import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { prepareVariables, VariableStore, variablesPath } from "./variable-store.ts";

const folder = mkdtempSync(join(tmpdir(), "twinmetal-variables-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As the chip reports it: where, how many, what. */
function report(offset: number, ...bytes: number[]): number[] {
  const header = new DataView(new ArrayBuffer(8));
  header.setUint32(0, offset, true);
  header.setUint32(4, bytes.length, true);
  return [...new Uint8Array(header.buffer), ...bytes];
}

describe("variables of a VM's firmware", () => {
  it("begin as a template's, and stay what they are when they are there", () => {
    const path = join(folder, "new", "box.variables");
    prepareVariables(path, Uint8Array.of(1, 2, 3));
    prepareVariables(path, Uint8Array.of(9, 9, 9));
    expect([...readFileSync(path)]).toEqual([1, 2, 3]);
  });

  it("follow what the chip reports, several at once", async () => {
    const path = join(folder, "reports");
    writeFileSync(path, new Uint8Array(8));
    const store = await VariableStore.open(path);
    store.apply(Uint8Array.from([...report(1, 7), ...report(4, 5, 6)]));
    await store.close();
    expect([...readFileSync(path)]).toEqual([0, 7, 0, 0, 5, 6, 0, 0]);
  });

  it("never grow, whatever a report says", async () => {
    const path = join(folder, "bounds");
    writeFileSync(path, new Uint8Array(4));
    const store = await VariableStore.open(path);
    for (const odd of [report(3, 1, 2), report(2 ** 32 - 1, 1), report(0, 1, 2).slice(0, 9), [1, 2, 3]])
      store.apply(Uint8Array.from(odd));
    await store.close();
    expect([...readFileSync(path)]).toEqual([0, 0, 0, 0]);
  });

  it("are one VM's at a time", async () => {
    const path = join(folder, "locked");
    writeFileSync(path, new Uint8Array(4));
    const first = await VariableStore.open(path);
    await expect(VariableStore.open(path)).rejects.toMatchObject({
      code: "locked",
      message: expect.stringMatching(/^Another VM of this name is running: .* another name\.$/),
    });
    await first.close();
    await (await VariableStore.open(path)).close();
  });

  it("lie in the user's data directory, and say so where that cannot be written", async () => {
    expect(variablesPath("box", { XDG_DATA_HOME: "/data" })).toBe("/data/twinmetal/firmware/box.variables");
    expect(variablesPath("box", { HOME: "/home/me" })).toBe("/home/me/.local/share/twinmetal/firmware/box.variables");
    writeFileSync(join(folder, "file"), "");
    expect(() => prepareVariables(join(folder, "file", "box"), Uint8Array.of(1))).toThrow(/leave the name out/);
    await expect(VariableStore.open(join(folder, "absent"))).rejects.toThrow(/ENOENT/);
  });
});
