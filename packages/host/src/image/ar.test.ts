import { describe, expect, it } from "vitest";
import { arFile, debFile } from "../../../../tests/guest/debian-archive.ts";
import { findDebMember, readAr } from "./ar.ts";
import { ImageError } from "./image-error.ts";

const SAMPLE = arFile(
  { name: "debian-binary", data: Buffer.from("2.0\n") },
  { name: "data.tar.xz/", data: Buffer.from("odd") },
);

describe("readAr", () => {
  it("reads members, padded ones too", () => {
    expect(readAr(SAMPLE, "x.deb").map(({ name, data }) => [name, Buffer.from(data).toString()])).toEqual([
      ["debian-binary", "2.0\n"],
      ["data.tar.xz", "odd"],
    ]);
  });

  it("refuses every truncation inside a member with one clear error", () => {
    for (let length = 0; length < SAMPLE.length - 1; length++) {
      const isBetweenMembers = length === 8 || length === 72;
      const read = (): unknown => readAr(SAMPLE.subarray(0, length), "x.deb");
      if (isBetweenMembers) expect(read).not.toThrow();
      else expect(read).toThrow(ImageError);
    }
  });

  it("refuses sizes that lie", () => {
    const lying = Buffer.from(SAMPLE);
    lying.write("9999999999", 8 + 48, "latin1");
    expect(() => readAr(lying, "x.deb")).toThrow(/x\.deb cannot be read: it is shorter/);
    lying.write("-1        ", 8 + 48, "latin1");
    expect(() => readAr(lying, "x.deb")).toThrow(/not a number/);
  });
});

describe("findDebMember", () => {
  it("names the compression", () => {
    expect(findDebMember(SAMPLE, "data", "x.deb").compression).toBe("xz");
    expect(findDebMember(debFile(), "data", "x.deb").compression).toBe("gzip");
  });

  it("refuses what is no package", () => {
    expect(() => findDebMember(arFile({ name: "data.tar.xz", data: new Uint8Array(1) }), "data", "x")).toThrow(
      /not a Debian package/,
    );
    expect(() => findDebMember(arFile({ name: "debian-binary", data: Buffer.from("2.0\n") }), "data", "x")).toThrow(
      /no data member/,
    );
  });
});
