import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { debWithControl, type TarFile } from "../../../../tests/guest/debian-archive.ts";
import { DebianRoot } from "./debian-root.ts";

let folder = "";
let root: DebianRoot;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-debian-root-"));
  root = new DebianRoot(join(folder, "spool"), 0);
});

afterEach(async () => {
  root.close();
  await rm(folder, { recursive: true });
});

async function add(control: readonly TarFile[], ...files: readonly TarFile[]): Promise<void> {
  const path = join(folder, "x.deb");
  await writeFile(path, debWithControl(control, ...files));
  await root.addPackage(path);
}

async function textOf(path: string): Promise<string | undefined> {
  const node = root.tree.find(path)?.node;
  if (node?.type !== "file") return undefined;
  const bytes = new Uint8Array(node.sizeBytes);
  await node.read(0, bytes);
  return Buffer.from(bytes).toString("utf8");
}

const directory = (path: string): TarFile => ({ path, typeFlag: "5" });
const control = (name: string, more = ""): TarFile => ({
  path: "./control",
  data: `Package: ${name}\nVersion: 1\n${more}`,
});

describe("DebianRoot", () => {
  it("has the directories of /usr merged, whatever packages say", async () => {
    await add(
      [control("aa")],
      directory("./"),
      directory("./bin/"),
      { path: "./bin/sh", data: "shell" },
      directory("./lib/"),
    );
    await add([control("bb")], directory("./usr/bin/"), { path: "./usr/bin/env", data: "env" });
    expect(root.tree.find("/usr/bin/sh")?.path).toBe("/usr/bin/sh");
    expect(root.tree.find("/bin/sh")?.path).toBe("/usr/bin/sh");
    expect(await textOf("/bin/env")).toBe("env");
    expect(root.tree.root.children.get("lib")).toMatchObject({ type: "symlink", target: "usr/lib" });
  });

  it("leaves dpkg's database as after dpkg --unpack", async () => {
    await add(
      [
        control("tool", "Architecture: amd64\nMulti-Arch: same\nDescription: one\n more\n"),
        { path: "./conffiles", data: "/etc/tool.conf\n" },
        { path: "./postinst", data: "#!/bin/sh\n" },
        { path: "./triggers", data: "# x\ninterest-noawait /usr/share/x\ninterest ldconfig\nactivate-noawait y\n" },
      ],
      directory("./"),
      directory("./etc/"),
      { path: "./etc/tool.conf", data: "a = 1\n" },
    );
    await add([control("other")], directory("./"));
    root.writeDatabase();
    const hash = createHash("md5").update("a = 1\n").digest("hex");
    expect(await textOf("/var/lib/dpkg/status")).toBe(
      [
        "Package: tool\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same",
        `Description: one\n more\nConffiles:\n /etc/tool.conf ${hash}\n`,
        "Package: other\nStatus: install ok installed\nVersion: 1\n\n",
      ].join("\n"),
    );
    expect(await textOf("/var/lib/dpkg/info/tool:amd64.list")).toBe("/.\n/etc\n/etc/tool.conf\n");
    expect(root.tree.find("/var/lib/dpkg/info/tool:amd64.postinst")?.node.mode).toBe(0o755);
    expect(root.tree.find("/var/lib/dpkg/info/tool:amd64.control")).toBeUndefined();
    expect(await textOf("/var/lib/dpkg/triggers/File")).toBe("/usr/share/x tool:amd64/noawait\n");
    expect(await textOf("/var/lib/dpkg/triggers/ldconfig")).toBe("tool:amd64\n");
    expect(root.unconfigured).toBe(1);
  });

  it("refuses a package without a name", async () => {
    await expect(add([{ path: "./control", data: "Version: 1\n" }])).rejects.toMatchObject({ code: "IMAGE_MALFORMED" });
  });
});
