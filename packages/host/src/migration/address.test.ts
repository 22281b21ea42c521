import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MigrationError } from "@twinmetal/core";
import { afterAll, describe, expect, it } from "vitest";
import { formatAddress, parseAddress, readSecurity } from "./address.ts";

const directory = mkdtempSync(join(tmpdir(), "twinmetal-address-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("addresses", () => {
  it.each([
    ["unix:/run/vm.sock", { kind: "unix", path: "/run/vm.sock" }],
    ["tcp:host.example:4444", { kind: "tcp", host: "host.example", port: 4444 }],
    ["tcp:127.0.0.1:0", { kind: "tcp", host: "127.0.0.1", port: 0 }],
    ["tcp:[::1]:4444", { kind: "tcp", host: "::1", port: 4444 }],
  ])("%s", (text, address) => {
    expect(parseAddress(text)).toEqual(address);
    expect(formatAddress(parseAddress(text))).toBe(text);
  });

  it.each([
    "",
    "unix:",
    "tcp:",
    "tcp:host",
    "tcp:host:70000",
    "tcp:::1:4",
    "tcp:[host]:4",
    "http:host:80",
    `unix:${"a".repeat(108)}`,
  ])("%s is none", (text) => expect(() => parseAddress(text)).toThrow(MigrationError));
});

describe("protection", () => {
  const unix = parseAddress("unix:/a");
  const tcp = parseAddress("tcp:h:1");
  const file = join(directory, "pem");
  writeFileSync(file, "pem");
  const tls = { key: file, certificate: file, authority: file };
  const refused = async (...args: Parameters<typeof readSecurity>): Promise<string> => {
    try {
      await readSecurity(...args);
      return "";
    } catch (error) {
      expect((error as MigrationError).code).toBe("bad-option");
      return (error as Error).message;
    }
  };

  it("of TCP is TLS, or none if that is said", async () => {
    expect(await readSecurity(tcp, { tls })).toEqual({
      key: Buffer.from("pem"),
      cert: Buffer.from("pem"),
      ca: Buffer.from("pem"),
    });
    expect(await readSecurity(tcp, { insecure: true })).toBeUndefined();
    expect(await refused(tcp, {})).toMatch(/insecure/);
    expect(await refused(tcp, { tls, insecure: true })).toMatch(/exclude/);
    expect(await refused(tcp, { tls: { ...tls, key: "/nowhere" } })).toMatch(/nowhere.*ENOENT/);
  });

  it("of a Unix socket is the file system's", async () => {
    expect(await readSecurity(unix, {})).toBeUndefined();
    expect(await refused(unix, { tls })).toMatch(/stays on this host/);
  });
});
