import { describe, expect, it } from "vitest";
import { LayerTree } from "./layer-tree.ts";
import type { TarEntry } from "./tar.ts";

const entry = (path: string, type: TarEntry["type"], linkTarget = ""): TarEntry =>
  ({
    path,
    type,
    linkTarget,
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtimeSeconds: 0,
    sizeBytes: 0,
    major: 0,
    minor: 0,
  }) as TarEntry;

function treeOf(...entries: readonly TarEntry[]): LayerTree {
  const tree = new LayerTree("image.tar");
  tree.beginLayer();
  for (const each of entries) tree.apply(each, () => Promise.reject(new Error("nobody reads it")));
  return tree;
}

describe("the tree of an image's layers", () => {
  it("follows links on the way to where a file goes, and makes what is missing", () => {
    const tree = treeOf(
      entry("usr/bin", "directory"),
      entry("bin", "symlink", "usr/bin"),
      entry("bin/sub/tool", "file"),
    );
    expect(tree.find("/usr/bin/sub/tool")).toMatchObject({ path: "/usr/bin/sub/tool", node: { type: "file" } });
  });

  it("is no deeper by links than by paths", () => {
    const deep = Array.from({ length: 150 }, () => "d").join("/");
    const link = entry("link", "symlink", deep);
    expect(() => treeOf(entry(deep, "directory"), link, entry("link/e/file", "file"))).not.toThrow();
    expect(() => treeOf(entry(deep, "directory"), link, entry(`link/${deep}/file`, "file"))).toThrow(/200 deep/);
  });
});
