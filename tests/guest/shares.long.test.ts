/** A tree of 10,000 files is copied into a guest and out again through shared folders, and is the same: docs/guide/sharing-files.md. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createVm } from "../../packages/host/src/index.ts";
import { tinyGuest } from "./tiny-guest.ts";

const FILES = 10_000;
const guest = await tinyGuest();

it.skipIf("missing" in guest)("10,000 files go both ways", { timeout: 1_800_000 }, async () => {
  const base = await mkdtemp(join(tmpdir(), "twinmetal-shares-"));
  try {
    const [there, back] = [join(base, "there"), join(base, "back")];
    mkdirSync(back);
    for (let i = 0; i < FILES; i++) {
      const directory = join(there, `d${i % 97}`, `e${i % 11}`);
      mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, `file ${i}`), Buffer.alloc((i * 37) % 9000, i), { mode: i % 3 ? 0o644 : 0o755 });
    }
    const vm = await createVm({
      memoryBytes: 512 * 2 ** 20,
      shares: [{ path: there, isReadOnly: true }, { path: back }],
    });
    try {
      await vm.start();
      const script =
        "cp -a /share/there/. /tmp/tree && cp -a /tmp/tree/. /share/back/ && find /share/back -type f | wc -l";
      const startMs = performance.now();
      const { exitCode, stdout } = await vm.exec(["sh", "-c", script]);
      console.log(`${FILES} files both ways: ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
      expect([exitCode, new TextDecoder().decode(stdout).trim()]).toEqual([0, String(FILES)]);
    } finally {
      await vm.close();
    }
    expect(execFileSync("diff", ["-r", there, back], { encoding: "utf8" })).toBe("");
  } finally {
    await rm(base, { recursive: true, force: true });
  }
});
