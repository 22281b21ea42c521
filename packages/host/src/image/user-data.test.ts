import { beforeAll, describe, expect, it } from "vitest";
import { checkUserData, loadYaml, type YamlLibrary } from "./user-data.ts";

let yaml: YamlLibrary | undefined;
beforeAll(async () => {
  yaml = await loadYaml();
  expect(yaml).toBeDefined();
});

const check = (text: string): void => checkUserData(new TextEncoder().encode(text), "user.yaml", yaml);

describe("user data", () => {
  it.each([
    ["a cloud-config", "#cloud-config\nhostname: box\nusers:\n  - default\n"],
    ["one of nothing but comments", "#cloud-config\n# nothing yet\n"],
    ["an archive", "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    #cloud-config\n"],
    ["a script", "#!/bin/sh\n: {[\n"],
    ["a MIME archive", "Content-Type: multipart/mixed; boundary=x\n"],
    ["a template", "## template: jinja\n#cloud-config\n{{ x }}\n"],
    ["what begins as gzip", "\x1f\u008b"],
  ])("may be %s", (_what, text) => {
    const bytes = text.startsWith("\x1f") ? Uint8Array.of(0x1f, 0x8b, 8) : new TextEncoder().encode(text);
    expect(() => checkUserData(bytes, "user.yaml", yaml)).not.toThrow();
  });

  it("is refused with line, column and what is there", () => {
    expect(() => check("#cloud-config\nusers:\n  - name: ada\n   shell: /bin/sh\n")).toThrow(
      /^user\.yaml is no YAML at line 4, column \d+: .*\. Mend that line: " {3}shell: \/bin\/sh"\.$/,
    );
    expect(() => check("#cloud-config\nruncmd: [a, b\n")).toThrow(/line \d+, column \d+/);
    expect(() => check("#cloud-config\nhostname: a\nhostname: b\n")).toThrow(/line 3/);
    expect(() => check("#cloud-config\n\thostname: a\n")).toThrow(/line 2/);
  });

  it.each([
    ["no first line", "hostname: box\n", "Begin it with a line #cloud-config"],
    ["nothing", "", "Begin it with"],
    ["a list", "#cloud-config\n- a\n", "no list of names and values"],
    ["a bare word", "#cloud-config\nhello\n", "no list of names and values"],
  ])("is refused with %s", (_what, text, message) => {
    expect(() => check(text)).toThrow(message);
  });

  it("is refused where it is no text, and where it is nested without end", () => {
    expect(() => checkUserData(Uint8Array.of(0x23, 0xff, 0xfe), "x", yaml)).toThrow("UTF-8");
    expect(() => check(`#cloud-config\na: ${"[".repeat(500_000)}`)).toThrow("at line 2");
    expect(() => check(`#cloud-config\na:\n  ${"- ".repeat(200_000)}x`)).toThrow("at line 3");
    expect(() => check(`#cloud-config\n${"? ".repeat(200_000)}x`)).toThrow("at line 2");
  });

  it("is bounded in what its aliases stand for", () => {
    const levels = Array.from({ length: 30 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i},`.repeat(9)}*l${i}]`);
    expect(() => check(`#cloud-config\nl0: &l0 [x]\n${levels.join("\n")}\n`)).not.toThrow();
  });

  it("is looked at by its first line alone without the library", () => {
    expect(() => checkUserData(new TextEncoder().encode("#cloud-config\n: ["), "x", undefined)).not.toThrow();
  });
});
