// What a VM that stays writes to its disks is there when it starts again, and its image is as it was.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openNodeDisk } from "../../../packages/host/src/index.ts";
import { countingDisk, countOf } from "./counting-disk.ts";
import { Home } from "./program.ts";

const OPTIONS = ["--firmware", "bios", "-m", "32M", "--net", "none", "--engine", "jit"];

let home: Home;
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

// In a sandbox where there is one.
test("an image's writes are kept with the VM, and the image is only read", { timeout: 240_000 }, async () => {
  const image = join(home.directory, "counter.img");
  writeFileSync(image, countingDisk());
  const options = ["--sandbox", "on", ...OPTIONS];
  expect(await home.must(["run", "-d", "--name", "box", "counter.img", ...options])).toBe("box\n");
  await home.console("box", /#0001/);
  expect(await home.must(["clone", "box", "copy"])).toBe("copy: saved\n");
  await home.type("box", "w", /#0002/);
  expect(await home.must(["save", "box"])).toBe("box: saved\n");
  await home.must(["rename", "box", "crate"]);
  expect(await home.must(["start", "crate", "copy"])).toBe("crate: running\ncopy: running\n");
  await home.type("crate", "w", /#0003/);
  await home.must(["kill", "crate", "copy"]);
  expect([await countIn("crate"), await countIn("copy")]).toEqual([3, 1]);
  expect(countOf(readFileSync(image))).toBe(0);
  await home.must(["rm", "crate", "copy"]);
});

/** A raw disk of 1 MiB as the VM sees it. */
async function countIn(name: string): Promise<number> {
  const [overlay = ""] = readdirSync(home.vm(name, "disks"));
  const { disk } = await openNodeDisk(home.vm(name, "disks", overlay), { isReadOnly: true });
  const sector = new Uint8Array(1024);
  await disk.read(0, sector);
  await disk.close();
  return countOf(sector);
}

test("a VM that is saved goes on once, and clones share what was written before", { timeout: 240_000 }, async () => {
  writeFileSync(join(home.directory, "data.img"), countingDisk());
  await home.must(["run", "-d", "--name", "one", ...OPTIONS, "--disk", "data.img"]);
  await home.console("one", /#0001/);
  const { processor } = JSON.parse(await home.must(["show", "one", "--registers", "--json"]));
  expect(processor).toMatchObject({ registers: { rip: expect.stringMatching(/^0x[0-9a-f]{16}$/) }, cpl: 0 });
  expect(await home.must(["show", "one", "--registers"])).toMatch(/^r15 +0x[0-9a-f]{16}$/m);
  expect(await home.must(["clone", "one", "two"])).toBe("two: saved\n");
  expect(await home.must(["save", "one"])).toBe("one: saved\n");
  expect((await home.run(["save", "one"])).stderr).toContain("VM one is saved, and save is not possible then");
  expect((await home.run(["show", "one", "--registers"])).stderr).toContain("VM one is saved");
  expect(await home.must(["start", "one", "two"])).toBe("one: running\ntwo: running\n");
  // Neither starts anew: both go on where the count is asked for.
  await home.type("one", "w", /#0002/);
  await home.type("one", "w", /#0003/);
  await home.type("two", "w", /#0002/);
  await home.must(["kill", "one", "two"]);
  expect(await home.must(["clone", "one", "three"])).toBe("three: off\n");
  expect([await countIn("one"), await countIn("two"), await countIn("three")]).toEqual([3, 2, 3]);
  expect(countOf(readFileSync(join(home.directory, "data.img")))).toBe(1);
  await home.must(["rm", "one"]);
  await home.must(["start", "three"]);
  await home.console("three", /#0004/);
  expect(await home.must(["save", "three"])).toBe("three: saved\n");
  expect(await home.must(["kill", "three"])).toBe("three: off\n");
  await home.must(["rm", "two", "three"]);
  expect(readdirSync(home.vm(".bases"))).toEqual([]);
});
