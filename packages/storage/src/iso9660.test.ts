import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { writeIso9660 } from "./iso9660.ts";

const file = (name: string, text = "") => ({ name, data: new TextEncoder().encode(text) });

/** What a reader of Joliet finds, by the specification's offsets. */
function readJoliet(image: Uint8Array): Map<string, string> {
  const view = new DataView(image.buffer);
  const descriptor = 17 * 2048;
  expect([image[descriptor], ...image.subarray(descriptor + 88, descriptor + 91)]).toEqual([2, 0x25, 0x2f, 0x45]);
  const start = view.getUint32(descriptor + 156 + 2, true) * 2048;
  const end = start + view.getUint32(descriptor + 156 + 10, true);
  const found = new Map<string, string>();
  for (let at = start; at < end; ) {
    const length = image[at]!;
    if (length === 0) {
      at = (Math.floor(at / 2048) + 1) * 2048;
      continue;
    }
    expect(Math.floor(at / 2048)).toBe(Math.floor((at + length - 1) / 2048));
    const nameBytes = image.subarray(at + 33, at + 33 + image[at + 32]!);
    const data = view.getUint32(at + 2, true) * 2048;
    const name = new TextDecoder("utf-16be").decode(nameBytes);
    if (nameBytes.length > 1)
      found.set(name, new TextDecoder().decode(image.subarray(data, data + view.getUint32(at + 10, true))));
    at += length;
  }
  return found;
}

describe("an ISO 9660 image", () => {
  it("has its files by their whole names, and its volume's name in both descriptors", () => {
    const image = writeIso9660("cidata", [
      file("user-data", "#cloud-config\n"),
      file("meta-data", "{}"),
      file("empty"),
    ]);
    expect(image.length % 2048).toBe(0);
    expect(Buffer.from(image.subarray(16 * 2048 + 1, 16 * 2048 + 6)).toString()).toBe("CD001");
    expect(Buffer.from(image.subarray(16 * 2048 + 40, 16 * 2048 + 72)).toString()).toBe("cidata".padEnd(32));
    expect(new TextDecoder("utf-16be").decode(image.subarray(17 * 2048 + 40, 17 * 2048 + 52))).toBe("cidata");
    expect(readJoliet(image)).toEqual(
      new Map([
        ["empty", ""],
        ["meta-data", "{}"],
        ["user-data", "#cloud-config\n"],
      ]),
    );
  });

  it("has directories of several sectors", () => {
    const files = Array.from({ length: 256 }, (_, i) =>
      file(`${"n".repeat(60)}${i.toString().padStart(3, "0")}`, `${i}`),
    );
    const found = readJoliet(writeIso9660("many", files));
    expect(found.size).toBe(256);
    for (const { name, data } of files) expect(found.get(name)).toBe(new TextDecoder().decode(data));
  });

  it("is the same for the same files in any order", () => {
    const files = [file("b", "2"), file("a", "1")];
    expect(writeIso9660("x", files)).toEqual(writeIso9660("x", [...files].reverse()));
  });

  it.each([
    ["a path", "x", [file("../a")]],
    ["a name twice", "x", [file("a"), file("a")]],
    ["a name with a zero byte", "x", [file("a\0b")]],
    ["a long name", "x", [file("a".repeat(65))]],
    ["a volume without a name", "", []],
    ["too many files", "x", Array.from({ length: 257 }, (_, i) => file(`f${i}`))],
    ["too many bytes", "x", [{ name: "a", data: new Uint8Array(64 * 2 ** 20 + 1) }]],
  ])("is refused with %s", (_what, volume, files) => {
    expect(() => writeIso9660(volume, files)).toThrow(expect.objectContaining({ code: "out-of-range" }));
  });

  it.skipIf(!existsSync("/usr/bin/xorriso"))("is read by xorriso", () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-iso-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "seed.iso");
    writeFileSync(
      path,
      writeIso9660("cidata", [file("user-data", "#cloud-config\n"), file("meta-data", "instance-id: x")]),
    );
    const xorriso = (...args: string[]) =>
      execFileSync("xorriso", ["-abort_on", "WARNING", ...args], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
    expect(xorriso("-indev", path, "-pvd_info")).toContain("Volume Id    : cidata");
    xorriso("-osirrox", "on", "-indev", path, "-extract", "/", join(folder, "out"));
    expect(readFileSync(join(folder, "out", "user-data"), "utf8")).toBe("#cloud-config\n");
  });
});
