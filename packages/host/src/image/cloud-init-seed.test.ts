import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CloudInitOptions, ensureCloudInitSeed } from "./cloud-init-seed.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMAcsYIJp0rnd2KjyyAkLSYQXwJpqrrEG5X8vhcW6vOM ada@box";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "twinmetal-seed-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const seedOf = (options: CloudInitOptions): Promise<string> =>
  ensureCloudInitSeed({ ...options, cacheDirectory: join(folder, "cache") });

/** The files' bytes stand in the image as they are. */
async function textOf(options: CloudInitOptions): Promise<string> {
  return readFileSync(await seedOf(options), "latin1");
}

describe("a seed", () => {
  it("has the user, her key, the host's name and a hash of the password", async () => {
    const text = await textOf({
      user: "ada",
      sshKeys: [file("id.pub", `# mine\n${KEY}\n`)],
      hostname: "box",
      passwordFile: file("password", "open sesame\n"),
    });
    const [, config = ""] = /#cloud-config\n(\{.*\})\n/.exec(text) ?? [];
    expect(JSON.parse(config)).toEqual({
      users: [
        {
          name: "ada",
          shell: "/bin/bash",
          sudo: "ALL=(ALL) NOPASSWD:ALL",
          lock_passwd: false,
          passwd: expect.stringMatching(/^\$6\$[0-9a-f]{16}\$[./0-9A-Za-z]{86}$/),
          ssh_authorized_keys: [KEY],
        },
      ],
    });
    const [meta = ""] = /\{"instance-id".*\}/.exec(text) ?? [];
    expect(JSON.parse(meta)).toMatchObject({ "local-hostname": "box", "public-keys": [KEY] });
    expect(text).not.toContain("open sesame");
  });

  it("is of its owner alone, and the same one for the same options", async () => {
    const options = { user: "ada", sshKeys: [file("id.pub", KEY)] };
    const path = await seedOf(options);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await seedOf(options)).toBe(path);
    expect(await seedOf({ ...options, hostname: "box" })).not.toBe(path);
  });

  it("is made again where the kept one is damaged", async () => {
    const path = await seedOf({ hostname: "box" });
    const before = readFileSync(path);
    writeFileSync(path, "x");
    expect(await seedOf({ hostname: "box" })).toBe(path);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it("hands user data on as it is", async () => {
    const data = "#cloud-config\npackages: [hello]\n";
    expect(await textOf({ userData: file("user.yaml", data) })).toContain(data);
  });

  it.each<[string, () => CloudInitOptions, string]>([
    ["a private key", () => ({ sshKeys: [file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\n")] }), "id.pub"],
    ["what is no key", () => ({ sshKeys: [file("id.pub", "hello\n")] }), "ssh-keygen"],
    ["no key at all", () => ({ sshKeys: [file("id.pub", "\n")] }), "ssh-keygen"],
    ["a file that is not there", () => ({ userData: join(folder, "none") }), "it is not there"],
    ["a folder", () => ({ userData: folder }), "is no file"],
    ["a file without end", () => ({ userData: "/dev/zero" }), "is no file"],
    ["a large file", () => ({ userData: file("large", "#".repeat(2 ** 20 + 1)) }), "more than the 1048576"],
    ["bad YAML", () => ({ userData: file("user.yaml", "#cloud-config\na: [\n") }), "line"],
    ["an empty password", () => ({ passwordFile: file("password", "\n") }), "is empty"],
    ["the user root", () => ({ user: "root" }), "not root"],
    ["a user with a colon", () => ({ user: "a:b" }), "no name for a user"],
    ["a host name with a blank", () => ({ hostname: "a b" }), "no host name"],
    ["user data and a user", () => ({ userData: "x", user: "ada" }), "exclude each other"],
  ])("is refused with %s", async (_what, options, message) => {
    await expect(seedOf(options())).rejects.toThrow(message);
    await expect(seedOf(options())).rejects.toMatchObject({ code: "IMAGE_BAD_OPTION" });
  });
});
