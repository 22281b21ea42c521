import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NetworkProblem } from "./network-protocol.ts";
import { AppendedFile } from "./network-records.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "twinmetal-records-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe("a file of records", () => {
  it("has as many whole ones as fit into its limit, and says once that it ends there", () => {
    const path = join(folder, "frames");
    const problems: NetworkProblem[] = [];
    const file = new AppendedFile(path, 1 << 20, (problem) => void problems.push(problem));
    for (let i = 0; i < 30; i++) file.write(new Uint8Array(100_000).fill(i));
    file.close();
    expect(readFileSync(path).length).toBe(1_000_000);
    expect(problems).toEqual([
      {
        path,
        code: "limit",
        message: `${path} is not written any more: it has the 1 MiB that it may have. What it has is whole, and the VM goes on.`,
      },
    ]);
  });

  it.skipIf(!existsSync("/dev/full"))("on a full disk says so once, and takes what comes [needs /dev/full]", () => {
    const problems: NetworkProblem[] = [];
    const file = new AppendedFile("/dev/full", 1 << 20, (problem) => void problems.push(problem));
    for (let i = 0; i < 3; i++) file.write(Uint8Array.of(1));
    expect(problems.map(({ code }) => code)).toEqual(["disk-full"]);
    file.close();
  });
});
