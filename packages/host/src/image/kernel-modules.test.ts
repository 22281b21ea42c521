import { describe, expect, it } from "vitest";
import { kernelModule } from "../../../../tests/guest/debian-archive.ts";
import { ImageError } from "./image-error.ts";
import { type ModuleTree, readModuleDependencies, resolveModules } from "./kernel-modules.ts";

function tree(depends: Record<string, string>, builtin = ""): ModuleTree {
  const paths = Object.keys(depends).map((name) => `kernel/drivers/${name}`);
  return { paths, builtin, read: (path) => kernelModule(depends[path.replace("kernel/drivers/", "")] ?? "") };
}

const plain = (_path: string, data: Uint8Array): Uint8Array => data;
const names = (modules: ModuleTree, ...wanted: string[]): string[] =>
  resolveModules(
    modules,
    wanted.map((name) => ({ name })),
    plain,
  ).map(({ name }) => name);

describe("resolveModules", () => {
  it("puts dependencies first and each module once", () => {
    const modules = tree({
      "pci.ko": "ring,legacy",
      "ring.ko": "",
      "legacy.ko": "ring",
      "console.ko": "ring",
      "net.ko": "",
    });
    expect(names(modules, "pci", "console")).toEqual(["ring", "legacy", "pci", "console"]);
  });

  it("leaves out what is built in and treats dashes as underscores", () => {
    const modules = tree(
      { "virtio-rng.ko": "rng-core,virtio", "virtio.ko.xz": "" },
      "kernel/drivers/char/rng-core.ko\n",
    );
    expect(names(modules, "virtio_rng")).toEqual(["virtio", "virtio_rng"]);
    expect(names(modules, "rng_core")).toEqual([]);
  });

  it("drops the compression suffix after decompressing", () => {
    const seen: string[] = [];
    const resolved = resolveModules(tree({ "virtio.ko.xz": "" }), [{ name: "virtio" }], (path, data) => {
      seen.push(path);
      return data;
    });
    expect(seen).toEqual(["kernel/drivers/virtio.ko.xz"]);
    expect(resolved[0]?.path).toBe("kernel/drivers/virtio.ko");
  });

  it("names what is missing and who needs it, unless it is optional", () => {
    const modules = tree({ "pci.ko": "absent" });
    expect(() => names(modules, "pci")).toThrow(/no module absent, which pci needs/);
    expect(() => names(modules, "other")).toThrow(/no module other, which Twinmetal's guest agent needs/);
    expect(resolveModules(modules, [{ name: "other", isOptional: true }], plain)).toEqual([]);
  });

  it("refuses a circle", () => {
    expect(() => names(tree({ "a.ko": "b", "b.ko": "a" }), "a")).toThrow(/circle/);
  });
});

describe("readModuleDependencies", () => {
  it("never reads outside a damaged file", () => {
    const module = kernelModule("a,b-c");
    expect(readModuleDependencies(module, "x.ko")).toEqual(["a", "b_c"]);
    for (let length = 0; length < module.length; length++) {
      expect(() => readModuleDependencies(module.subarray(0, length), "x.ko")).toThrow(ImageError);
    }
    for (let at = 0; at < module.length; at++) {
      const damaged = Buffer.from(module);
      damaged[at] = 0xff;
      try {
        readModuleDependencies(damaged, "x.ko");
      } catch (error) {
        expect(error).toBeInstanceOf(ImageError);
      }
    }
  });
});
