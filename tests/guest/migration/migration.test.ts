// A running VM moves between processes: a guest that checks its own memory, Linux at work, TLS, and what breaks.

import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { openNodeDisk } from "../../../packages/host/src/index.ts";
import { keptTranslations } from "../../kept-translations.ts";
import { tinyGuest } from "../tiny-guest.ts";
import { dirtyingKernel, memoryBytesOf } from "./dirtying-guest.ts";
import { Peer } from "./peers.ts";
import { outcomesOf, type SoakRecord, soak } from "./soak.ts";

const GUEST = { pages: 2048, delay: 20_000 };
const tiny = await tinyGuest();
let directory = "";
let kernel = "";
const peers: Peer[] = [];
// Several processes with a VM each, on a host that may be busy.
vi.setConfig({ testTimeout: 180_000 });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-mig-"));
  kernel = join(directory, "dirtying");
  await writeFile(kernel, dirtyingKernel(GUEST));
});
// Their guests spin.
afterEach(async () => {
  await Promise.all(peers.splice(0).map((peer) => peer.end()));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

function peer(): Peer {
  const made = new Peer();
  peers.push(made);
  return made;
}

const start = async (): Promise<Peer> => {
  const source = peer();
  await source.ask("start", { kernel, memoryBytes: memoryBytesOf(GUEST) });
  await source.until((text) => text.includes(".."));
  return source;
};

describe("between two processes", () => {
  it("a guest goes on with its memory, its clock and what was typed", async () => {
    const [source, target] = [await start(), peer()];
    const address = `unix:${join(directory, "a")}`;
    await target.ask("listen", { address, kernel });
    expect(await source.ask("check", { target: address })).toEqual([]);
    await source.ask("type", { text: "g" });
    const migrated = source.migrate(address);
    await source.ask("type", { text: "abc" }).catch(() => {});
    expect(await migrated).toMatchObject({ result: { leastShare: expect.any(Number) } });
    expect((await source.status()).state).toBe("migrated");
    await target.ask("type", { text: "g" });
    const output = await target.until((text) => /[0-9a-f]{16}\n.*\.\./s.test(text));
    expect(output).not.toContain("X");
    const typed = (await source.status()).output + output;
    expect(typed.replace(/[^abc\n]|[0-9a-f]{16}/g, "")).toMatch(/a.*b.*c/s);
  });

  it("a disk's image is closed here before it is opened there, and has to be named there", async () => {
    const image = join(directory, "disk.raw");
    await writeFile(image, new Uint8Array(65_536));
    const disks = [{ path: image, format: "raw" }];
    const [source, target] = [peer(), peer()];
    await source.ask("start", { kernel, memoryBytes: memoryBytesOf(GUEST), disks });
    await source.until((text) => text.includes(".."));
    const address = `unix:${join(directory, "d")}`;
    await target.ask("listen", { address, kernel, disks: [] });
    expect(await source.migrate(address)).toMatchObject({
      code: "refused",
      message: expect.stringMatching(/has 1 disk/),
    });
    const other = peer();
    const elsewhere = `unix:${join(directory, "e")}`;
    await other.ask("listen", { address: elsewhere, kernel, disks });
    await expect(openNodeDisk(image, { format: "raw" })).rejects.toMatchObject({ code: "locked" });
    expect(await source.migrate(elsewhere)).toMatchObject({ result: expect.anything() });
    await source.end();
    await expect(openNodeDisk(image, { format: "raw" })).rejects.toMatchObject({ code: "locked" });
    await other.until((text) => text.includes(".."));
    await other.end();
    const { disk } = await openNodeDisk(image, { format: "raw" });
    await disk.close();
  });

  it("is refused, in words, by a target that cannot take the VM", async () => {
    const [source, target] = [await start(), peer()];
    const address = `unix:${join(directory, "b")}`;
    await target.ask("listen", { address, kernel, maxMemoryBytes: 1 });
    const obstacles = await source.ask<{ code: string }[]>("check", { target: address });
    expect(obstacles.map(({ code }) => code)).toEqual(["memory"]);
    expect(await source.migrate(address)).toMatchObject({
      code: "refused",
      message: expect.stringMatching(/at most 0 MiB/),
    });
    expect(await source.migrate("unix:/nowhere")).toMatchObject({
      code: "link-lost",
      message: expect.stringMatching(/nobody listens/),
    });
    expect(await source.migrate("tcp:127.0.0.1:9")).toMatchObject({
      code: "bad-option",
      message: expect.stringMatching(/TLS/),
    });
    expect((await source.status()).state).toBe("running");
  });

  it("five times, disturbed from a seed: exactly one copy runs, its memory whole", async () => {
    const records: SoakRecord[] = [];
    await soak(directory, GUEST, { seed: 20_241_127, to: 5 }, (record) => records.push(record));
    expect(records.map(({ number }) => number)).toEqual([...Array(5).keys()]);
    expect(outcomesOf(records)["migrated"]).toBeGreaterThanOrEqual(1);
  });
});

describe.skipIf(!hasOpenssl())("TLS", () => {
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
  const certificate = (
    name: string,
    authority: string,
    names = "DNS:localhost,IP:127.0.0.1",
  ): { key: string; certificate: string; authority: string } => {
    openssl(
      "req",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.csr`,
      "-subj",
      `/CN=${name}`,
      "-addext",
      `subjectAltName=${names}`,
    );
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      `${authority}.pem`,
      "-CAkey",
      `${authority}.key`,
      "-CAcreateserial",
      "-copy_extensions",
      "copy",
      "-out",
      `${name}.pem`,
      "-days",
      "2",
    );
    const at = (file: string): string => join(directory, file);
    return { key: at(`${name}.key`), certificate: at(`${name}.pem`), authority: at(`${authority}.pem`) };
  };
  const authority = (name: string): void =>
    openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.pem`,
      "-subj",
      `/CN=${name}`,
      "-days",
      "2",
    );

  it("takes a VM from a peer of the same authority, and from no other", async () => {
    for (const name of ["ours", "theirs"]) authority(name);
    const [here, there, stranger] = [
      certificate("here", "ours"),
      certificate("there", "ours"),
      certificate("stranger", "theirs"),
    ];
    const [source, target] = [await start(), peer()];
    const port = 20_000 + (process.pid % 20_000);
    const address = `tcp:127.0.0.1:${port}`;
    const unnamed = certificate("unnamed", "ours", "DNS:unnamed.example");
    await target.ask("listen", { address, kernel, tls: { ...there, peers: ["localhost"] } });
    const unknown = await source.migrate(address, { tls: unnamed, stallMs: 5000 });
    expect(unknown.code).toBe("link-lost");
    const wrong = await source.migrate(address, { tls: { ...stranger, authority: here.authority }, stallMs: 5000 });
    expect(wrong.code).toBe("link-lost");
    const distrusting = await source.migrate(address, { tls: stranger });
    expect(distrusting).toMatchObject({ code: "link-lost", message: expect.stringMatching(/certificates/) });
    expect(await source.migrate(address, { insecure: true, stallMs: 5000 })).toMatchObject({ code: "link-lost" });
    const elsewhere = await source.migrate(address, { tls: { ...here, peers: ["elsewhere.example"] } });
    expect(elsewhere).toMatchObject({ code: "link-lost", message: expect.stringMatching(/not among those accepted/) });
    expect((await source.status()).state).toBe("running");
    const { result, message } = await source.migrate(address, { tls: here });
    expect(message).toBeUndefined();
    expect(result!.sentBytes).toBeGreaterThan(0);
    await target.until((text) => text.includes(".."));
    expect((await target.status()).output).not.toContain("X");
  });
});

describe.skipIf("missing" in tiny)("Linux at work", () => {
  it("goes on where it was: its work comes out right, and its clock follows", async () => {
    const [source, target] = [peer(), peer()];
    const address = `unix:${join(directory, "linux")}`;
    await source.ask("start", { memoryBytes: 128 * 2 ** 20, append: "quiet", ...keptTranslations() });
    await source.until((text) => /# /.test(text), 120_000);
    const work =
      "i=0; while [ $i -lt 20 ]; do i=$((i+1)); seq 1 3000 | sha256sum >> /tmp/sums; read up rest < /proc/uptime; echo t=$up; done; sort -u /tmp/sums | wc -l; wc -l < /tmp/sums; echo done=$i\n";
    await source.ask("type", { text: work });
    await source.until((text) => /t=\d/.test(text));
    await target.ask("listen", { address });
    const { result, message } = await source.migrate(address, { maxDowntimeMs: 300 });
    expect(message).toBeUndefined();
    const after = await target.until((text) => text.includes("done=20"), 120_000);
    const before = (await source.status()).output;
    expect(after).toMatch(/^1\r?$\n^20\r?$\n^done=20/m);
    const times = [...(before + after).matchAll(/t=(\d+\.\d+)/g)].map(([, seconds]) => Number(seconds));
    expect(times.length).toBe(20);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const last = before.match(/t=(\d+\.\d+)(?!.*t=\d+\.)/s)!;
    const first = after.match(/t=(\d+\.\d+)/)!;
    const gapMs = (Number(first[1]) - Number(last[1])) * 1000;
    expect(gapMs).toBeGreaterThanOrEqual(Math.min(result!.downtimeMs * 0.3, 10));
  });
});

/** Makes the certificates; without it the test is skipped. */
function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"], { stdio: "pipe" });
    return true;
  } catch {
    return false;
  }
}
