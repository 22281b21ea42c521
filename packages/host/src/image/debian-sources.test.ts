import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findDebianSource, parseDeb822, parseDeb822Sources, parseOneLineSources } from "./debian-sources.ts";

let root = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "twinmetal-sources-"));
  await mkdir(join(root, "etc/apt/sources.list.d"), { recursive: true });
  await mkdir(join(root, "usr/share/keyrings"), { recursive: true });
});

afterEach(() => rm(root, { recursive: true, force: true }));

describe("findDebianSource", () => {
  it("takes Debian itself, not its security archive or somebody else's", async () => {
    await writeFile(
      join(root, "etc/apt/sources.list.d/a.sources"),
      [
        "Types: deb\nURIs: http://security.example/debian-security\nSuites: bookworm-security\nComponents: main\n",
        "Types: deb\nURIs: https://other.example/\nSuites: ./\n",
        "Types: deb deb-src\nURIs: http://near.example/debian/\nSuites: bookworm bookworm-updates",
        "Components: main contrib\nSigned-By: /usr/share/keyrings/own.gpg\n",
      ].join("\n"),
    );
    await writeFile(join(root, "usr/share/keyrings/own.gpg"), "");
    expect(findDebianSource(root)).toEqual({
      mirror: "http://near.example/debian",
      keyring: "/usr/share/keyrings/own.gpg",
    });
  });

  it("reads the one-line style and passes over what is disabled", async () => {
    await writeFile(
      join(root, "etc/apt/sources.list.d/a.sources"),
      "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n",
    );
    await writeFile(
      join(root, "etc/apt/sources.list"),
      "# deb http://commented.example/debian trixie main\ndeb-src http://src.example/debian trixie main\n" +
        "deb [arch=amd64 signed-by=/missing.gpg] http://list.example/debian trixie main # note\n",
    );
    await writeFile(join(root, "usr/share/keyrings/debian-archive-keyring.gpg"), "");
    expect(findDebianSource(root)).toEqual({
      mirror: "http://list.example/debian",
      keyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
    });
  });

  it("asks for a mirror on another system", async () => {
    await writeFile(join(root, "etc/apt/sources.list"), "deb http://archive.example/ubuntu noble main universe\n");
    const refusal = expect.objectContaining({ code: "IMAGE_NO_SOURCE", message: expect.stringContaining("--mirror") });
    expect(() => findDebianSource(root)).toThrow(refusal);
    expect(() => findDebianSource(join(root, "nowhere"))).toThrow(refusal);
  });
});

describe("the parsers", () => {
  it("keep continuation lines of deb822 and ignore comments", () => {
    const paragraphs = parseDeb822("# c\nA: 1\nSHA256:\n x 1 a\n y 2 b\n\n\nB: 2\n");
    expect(paragraphs.map((fields) => Object.fromEntries(fields))).toEqual([
      { a: "1", sha256: "\nx 1 a\ny 2 b" },
      { b: "2" },
    ]);
  });

  it("read options and several words", () => {
    expect(parseOneLineSources("deb [ signed-by=/k.gpg,/l.gpg ] cdrom:[x]/ sid main")[0]?.signedBy).toBe("/k.gpg");
    expect(parseDeb822Sources("Types: deb\nURIs: http://a http://b\nSuites: sid\nComponents: main\n")[0]?.uris).toEqual(
      ["http://a", "http://b"],
    );
  });
});
