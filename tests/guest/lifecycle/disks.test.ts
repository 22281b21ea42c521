// What a VM that stays writes to its disks is there when it starts again, and its image is as it was.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { countingDisk, countOf } from "./counting-disk.ts";
import { Home } from "./program.ts";

const OPTIONS = ["--firmware", "bios", "-m", "32M", "--net", "none", "--engine", "jit"];

let home: Home;
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

test("an image's writes are kept with the VM, and the image is only read", { timeout: 120_000 }, async () => {
  const image = join(home.directory, "counter.img");
  writeFileSync(image, countingDisk());
  expect(await home.must(["run", "-d", "--name", "box", "counter.img", ...OPTIONS])).toBe("box\n");
  await home.console("box", /#0001/);
  await home.must(["kill", "box"]);
  await home.must(["rename", "box", "crate"]);
  await home.must(["start", "crate"]);
  await home.console("crate", /#0002/);
  await home.must(["kill", "crate"]);
  expect(countOf(readFileSync(image))).toBe(0);
  await home.must(["rm", "crate"]);
});
