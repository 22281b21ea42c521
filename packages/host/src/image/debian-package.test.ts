import { describe, expect, it } from "vitest";
import { type PackageRecord, readPackageRecord, resolvePackage } from "./debian-package.ts";

const FIELDS = {
  package: "busybox-static",
  version: "1:1.35.0-4+b1",
  size: "10",
  "installed-size": "3",
  filename: "pool/main/b/busybox/busybox-static_1.35.0-4+b1_amd64.deb",
  sha256: "a".repeat(64),
};

const read = (changes: Record<string, string> = {}): PackageRecord =>
  readPackageRecord(new Map(Object.entries({ ...FIELDS, ...changes })), "the mirror");

describe("readPackageRecord", () => {
  it("reads what is needed", () => {
    expect(read()).toMatchObject({
      name: "busybox-static",
      version: "1:1.35.0-4+b1",
      sizeBytes: 10,
      installedBytes: 3072,
    });
  });

  it.each([
    ["package", "../../etc"],
    ["version", "1 2"],
    ["size", "-1"],
    ["size", "9999999999"],
    ["filename", "/etc/passwd"],
    ["filename", "pool/../../x.deb"],
    ["sha256", "abc"],
  ])("refuses a %s of %j", (name, value) => {
    expect(() => read({ [name]: value })).toThrow(new RegExp(`bad ${name}`));
  });
});

describe("resolvePackage", () => {
  const archive: Record<string, string> = {
    "linux-image-cloud-amd64": "linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)",
    "linux-image-6.1.0-50-cloud-amd64": "kmod, linux-base (>= 4.3~), initramfs-tools | linux-initramfs-tool",
    "linux-image-loop": "linux-image-loop",
  };
  const lookUp = async (name: string): Promise<PackageRecord> => read({ package: name, depends: archive[name] ?? "" });

  it("follows a kernel metapackage and leaves other packages alone", async () => {
    expect((await resolvePackage("linux-image-cloud-amd64", lookUp)).name).toBe("linux-image-6.1.0-50-cloud-amd64");
    expect((await resolvePackage("busybox-static", lookUp)).name).toBe("busybox-static");
  });

  it("ends on a package that depends on itself", async () => {
    expect((await resolvePackage("linux-image-loop", lookUp)).name).toBe("linux-image-loop");
  });
});
