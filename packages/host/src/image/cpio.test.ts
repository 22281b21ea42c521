import { describe, expect, it } from "vitest";
import { type CpioEntry, writeCpio } from "./cpio.ts";

interface ReadEntry {
  mode: number;
  data: string;
  major: number;
  minor: number;
}

function readCpio(archive: Uint8Array): Map<string, ReadEntry> {
  const bytes = Buffer.from(archive);
  const entries = new Map<string, ReadEntry>();
  for (let offset = 0; offset < bytes.length; ) {
    const field = (index: number): number =>
      Number.parseInt(bytes.toString("latin1", offset + 6 + index * 8, offset + 14 + index * 8), 16);
    expect(bytes.toString("latin1", offset, offset + 6)).toBe("070701");
    expect(offset % 4).toBe(0);
    const nameEnd = offset + 110 + field(11);
    const name = bytes.toString("utf8", offset + 110, nameEnd - 1);
    const dataStart = (nameEnd + 3) & ~3;
    const data = bytes.toString("latin1", dataStart, dataStart + field(6));
    entries.set(name, { mode: field(1), data, major: field(9), minor: field(10) });
    offset = (dataStart + field(6) + 3) & ~3;
  }
  return entries;
}

const ENTRIES: CpioEntry[] = [
  { type: "directory", path: "bin" },
  { type: "directory", path: "dev" },
  { type: "character-device", path: "dev/console", major: 5, minor: 1 },
  { type: "file", path: "bin/tool", data: Buffer.from("12345"), mode: 0o755 },
  { type: "symlink", path: "bin/sh", target: "tool" },
];

describe("writeCpio", () => {
  it("writes what a reader of the format finds again", () => {
    const entries = readCpio(writeCpio(ENTRIES));
    expect([...entries.keys()]).toEqual(["bin", "dev", "dev/console", "bin/tool", "bin/sh", "TRAILER!!!"]);
    expect(entries.get("bin")?.mode).toBe(0o040755);
    expect(entries.get("bin/tool")).toMatchObject({ mode: 0o100755, data: "12345" });
    expect(entries.get("bin/sh")).toMatchObject({ mode: 0o120777, data: "tool" });
    expect(entries.get("dev/console")).toMatchObject({ mode: 0o020600, major: 5, minor: 1 });
  });

  it("writes the same bytes for the same entries", () => {
    expect(Buffer.from(writeCpio(ENTRIES)).equals(writeCpio(ENTRIES))).toBe(true);
  });

  it.each(["/etc", "a/../b", "a//b", "", ".", "TRAILER!!!", "a\0b"])("refuses the path %j", (path) => {
    expect(() => writeCpio([{ type: "directory", path }])).toThrow(RangeError);
  });

  it("refuses a file before its directory and a second file of one name", () => {
    const file: CpioEntry = { type: "file", path: "a", data: new Uint8Array(0) };
    expect(() => writeCpio([{ ...file, path: "x/a" }])).toThrow(/x has to come before/);
    expect(() => writeCpio([file, file])).toThrow(/twice/);
  });
});
