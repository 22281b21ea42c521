import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { copySparse } from "./sparse-copy.ts";

const MIB = 2 ** 20;

let directory = "";
let from = "";
let to = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "twinmetal-copy-"));
  [from, to] = [join(directory, "from"), join(directory, "to")];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("a sparse copy", () => {
  it("has the same bytes, and holes where there are zeros", async () => {
    const bytes = Buffer.alloc(3 * MIB + 777);
    for (const at of [0, 4095, 4096, MIB - 1, MIB, 2 * MIB + 8191, bytes.length - 1]) bytes[at] = at % 251 || 1;
    writeFileSync(from, bytes);
    const told: number[] = [];
    await copySparse(from, to, { onProgress: ({ done }) => told.push(done) });
    expect(readFileSync(to).equals(bytes)).toBe(true);
    // A file system that shares blocks copies none.
    if (told.length > 0) expect(statSync(to).blocks * 512).toBeLessThan(MIB);
    expect(statSync(to).mode & 0o777).toBe(0o600);
  });

  it("copies a file that is empty, and one of nothing but a hole", async () => {
    for (const sizeBytes of [0, 5 * MIB]) {
      writeFileSync(from, "");
      truncateSync(from, sizeBytes);
      await copySparse(from, to);
      expect(statSync(to).size).toBe(sizeBytes);
      rmSync(to);
    }
  });

  it("leaves nothing when it is given up, and never writes over a file or follows a link", async () => {
    writeFileSync(from, Buffer.alloc(2 * MIB, 1));
    const { signal } = { signal: AbortSignal.abort(new Error("given up")) };
    // Where blocks are shared there is nothing to give up.
    await copySparse(from, to, { signal }).catch((error: Error) => expect(error.message).toBe("given up"));
    rmSync(to, { force: true });
    writeFileSync(to, "mine");
    await expect(copySparse(from, to)).rejects.toMatchObject({ code: "EEXIST" });
    expect(readFileSync(to, "utf8")).toBe("mine");
    const link = join(directory, "link");
    symlinkSync(from, link);
    await expect(copySparse(link, join(directory, "other"))).rejects.toMatchObject({ code: "ELOOP" });
    await expect(copySparse(directory, join(directory, "other"))).rejects.toMatchObject({ code: "EINVAL" });
    expect(readdirSync(directory).sort()).toEqual(["from", "link", "to"]);
  });
});
