import { describe, expect, it } from "vitest";
import { setChecksum, tarEntry, tarFile } from "../../../../tests/guest/debian-archive.ts";
import { ImageError } from "./image-error.ts";
import { type TarEntry, TarParser } from "./tar.ts";

function parse(archive: Uint8Array, chunkSize = archive.length): [string, TarEntry["type"], string][] {
  const found: [string, TarEntry["type"], string][] = [];
  const parser = new TarParser(
    {
      onEntry: ({ path, type }) => {
        const entry: [string, TarEntry["type"], string] = [path, type, ""];
        found.push(entry);
        return (chunk) => {
          entry[2] += Buffer.from(chunk).toString("latin1");
        };
      },
    },
    "x.deb",
  );
  for (let offset = 0; offset < archive.length; offset += chunkSize) {
    parser.write(archive.subarray(offset, offset + chunkSize));
  }
  parser.end();
  return found;
}

const LONG_PATH = `usr/lib/${"deep/".repeat(40)}file`;
const PAX_RECORD = ((record) => `${record.length + 4} ${record}`)(`path=${LONG_PATH}\n`);

describe("TarParser", () => {
  it("reads files, directories and links whatever the chunks are", () => {
    const archive = tarFile(
      { path: "./usr/", typeFlag: "5" },
      { path: "./usr/a", data: "x".repeat(700) },
      { path: "./usr/b", typeFlag: "2" },
      { path: "./c", data: "" },
    );
    const expected = [
      ["usr", "directory", ""],
      ["usr/a", "file", "x".repeat(700)],
      ["usr/b", "symlink", ""],
      ["c", "file", ""],
    ];
    for (const size of [archive.length, 1, 7, 511, 512, 513, 1024]) expect(parse(archive, size)).toEqual(expected);
  });

  it("reads long names of pax and GNU", () => {
    const pax = tarFile({ path: "PaxHeader", typeFlag: "x", data: PAX_RECORD }, { path: "short", data: "1" });
    const gnu = tarFile({ path: "././@LongLink", typeFlag: "L", data: `${LONG_PATH}\0` }, { path: "short", data: "1" });
    expect(parse(pax)).toEqual([[LONG_PATH, "file", "1"]]);
    expect(parse(gnu)).toEqual([[LONG_PATH, "file", "1"]]);
  });

  it("joins the ustar prefix", () => {
    const entry = tarEntry({ path: "file" });
    entry.write("some/prefix", 345, "latin1");
    setChecksum(entry);
    expect(parse(Buffer.concat([entry, Buffer.alloc(1024)]))).toEqual([["some/prefix/file", "file", ""]]);
  });

  it("refuses a damaged checksum, a damaged size, and an end in the middle", () => {
    const damaged = tarFile({ path: "a", data: "1" });
    damaged[0] = 0x62;
    expect(() => parse(damaged)).toThrow(/checksum/);
    const entry = tarEntry({ path: "a" });
    entry.write("zzzzzzzzzzz\0", 124, "latin1");
    setChecksum(entry);
    expect(() => parse(entry)).toThrow(/number/);
    expect(() => parse(tarEntry({ path: "a", data: "x".repeat(600) }).subarray(0, 700))).toThrow(/cut off/);
  });

  it("bounds what an archive can make it hold", () => {
    const huge = tarEntry({ path: "x", typeFlag: "L" });
    huge.write("00004000000\0", 124, "latin1");
    setChecksum(huge);
    expect(() => parse(huge)).toThrow(ImageError);
  });

  it("refuses damaged extended headers", () => {
    for (const data of ["5 path=x\n", "0 a=b\n", "99 a=b\n", "x a=b\n", "-3 a=b\n", "12 size=abc\n"]) {
      expect(() => parse(tarFile({ path: "h", typeFlag: "x", data }, { path: "f" })), data).toThrow(ImageError);
    }
  });
});
