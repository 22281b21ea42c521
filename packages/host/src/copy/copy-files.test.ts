import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { setChecksum, tarEntry, tarFile } from "../../../../tests/guest/debian-archive.ts";
import type { AgentProcess, GuestAgent, RunOptions } from "../agent/index.ts";
import { type ControlServer, serveControl } from "../control/control-server.ts";
import { VmControl } from "../control/vm-control.ts";
import type { Vm } from "../vm/vm.ts";
import { copyFromVm, copyToVm } from "./copy-files.ts";

let directory = "";
let vm = "";
let here = "";
let there = "";
let control: VmControl;
let server: ControlServer;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "tm-copy-"));
  [vm, here, there] = ["s", "here", "there"].map((name) => join(directory, name)) as [string, string, string];
  mkdirSync(here);
  mkdirSync(there);
  control = new VmControl();
  server = await serveControl(vm, control);
});
afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A "guest" whose commands run here. */
class ShellAgent {
  readonly #kind: string;
  readonly #path: string;

  constructor(kind: string, path = process.env["PATH"] ?? "") {
    this.#kind = kind;
    this.#path = path;
  }

  async connect(): Promise<object> {
    return { kind: this.#kind };
  }

  #spawn(words: readonly string[]): ChildProcess {
    const [program = "", ...args] = words;
    return spawn(program, args, { cwd: "/", env: { PATH: this.#path } });
  }

  async exec(words: readonly string[], { signal }: { signal?: AbortSignal } = {}): Promise<AgentProcess> {
    if (this.#kind === "qemu") throw new Error("no streams");
    const child = this.#spawn(words);
    signal?.addEventListener("abort", () => child.kill("SIGKILL"));
    const exited = new Promise<number>((resolve) => void child.once("close", (code) => resolve(code ?? 137)));
    return { stdout: child.stdout, stderr: child.stderr, stdin: child.stdin, exited } as unknown as AgentProcess;
  }

  async run(words: readonly string[], { input, signal }: RunOptions = {}): Promise<object> {
    if (this.#kind === "qemu" && input !== undefined) throw new Error("no streams");
    const child = this.#spawn(words);
    signal?.addEventListener("abort", () => child.kill("SIGKILL"));
    const parts: Record<"stdout" | "stderr", Buffer[]> = { stdout: [], stderr: [] };
    for (const name of ["stdout", "stderr"] as const) child[name]!.on("data", (bytes) => void parts[name].push(bytes));
    child.stdin!.on("error", () => {});
    const exited = new Promise<number>((resolve) => void child.once("close", (code) => resolve(code ?? 137)));
    if (input) for await (const bytes of input as AsyncIterable<Uint8Array>) child.stdin!.write(bytes);
    child.stdin!.end();
    const exitCode = await exited;
    return { exitCode, stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr) };
  }

  async putFile(path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const bytes of content) parts.push(bytes);
    writeFileSync(path, Buffer.concat(parts));
  }
}

function guest(agent: unknown): void {
  control.vm = { state: "running", name: "box", agent: agent as GuestAgent } as Vm;
}

/** A guest that sends this, and says that it is whole. */
function guestThatSends(bytes: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): void {
  guest({
    connect: async () => ({ kind: "twinmetal" }),
    exec: async () => {
      const stdout = PassThrough.from(bytes);
      return { stdout, stderr: new PassThrough().end(), exited: Promise.resolve(0) };
    },
  });
}

function file(path: string, data: string, mode: number, time: number): void {
  writeFileSync(path, data);
  chmodSync(path, mode);
  utimesSync(path, time, time);
}

/** Every path in it with its mode, its time and what it holds. */
function tree(root: string, path = ""): string[] {
  const at = join(root, path);
  const stats = lstatSync(at);
  const what = `${path} ${(stats.mode & 0o7777).toString(8)} ${Math.floor(stats.mtimeMs / 1000)}`;
  if (stats.isSymbolicLink()) return [`${path} -> ${readlinkSync(at)}`];
  if (stats.isFile()) return [`${what} ${readFileSync(at, "latin1").length}`];
  return [
    what,
    ...readdirSync(at)
      .sort()
      .flatMap((name) => tree(root, join(path, name))),
  ];
}

function makeTree(root: string): void {
  mkdirSync(join(root, "d", "empty"), { recursive: true });
  mkdirSync(join(root, "d", ".hidden"));
  file(join(root, "d", ".hidden", "-x"), "x", 0o644, 1000);
  file(join(root, "d", "big"), "b".repeat(5_000_000), 0o600, 1_700_000_000);
  file(join(root, "d", "a b\n$(c) ü"), "odd", 0o755, 1_600_000_000);
  file(join(root, "d", `${"long".repeat(60)}`), "long", 0o444, 1_600_000_001);
  symlinkSync("big", join(root, "d", "link"));
  symlinkSync("../.hidden/-x", join(root, "d", "empty", "far"));
  utimesSync(join(root, "d", "empty"), 2000, 2000);
  utimesSync(join(root, "d", ".hidden"), 2001, 2001);
  chmodSync(join(root, "d", ".hidden"), 0o555);
  utimesSync(join(root, "d"), 3000, 3000);
}

const failure = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => "nothing was refused",
    (error: Error) => error.message,
  );

describe.each(["twinmetal", "qemu"])("with the agent of %s", (kind) => {
  beforeEach(() => guest(new ShellAgent(kind)));
  afterEach(() => {
    for (const root of [here, there])
      for (const path of ["d", "e"]) {
        const hidden = join(root, path, ".hidden");
        if (existsSync(hidden)) chmodSync(hidden, 0o755);
      }
  });

  it("copies a folder in and out again, modes, times and links and all", async () => {
    makeTree(here);
    const counts = { files: 4, folders: 3, links: 2, sizeBytes: 5_000_008, leftOut: [] };
    expect(await copyToVm(vm, [join(here, "d")], `${there}/e`)).toEqual(counts);
    expect(tree(join(there, "e"))).toEqual(tree(join(here, "d")));
    expect(await copyFromVm(vm, [`${there}/e`], here)).toEqual(counts);
    expect(tree(join(here, "e"))).toEqual(tree(join(here, "d")));
    expect([readdirSync(here), readdirSync(there)]).toEqual([["d", "e"], ["e"]]);
  });

  it("fills folders that are there, and replaces files", async () => {
    for (const root of [here, there]) mkdirSync(join(root, "d", "sub"), { recursive: true });
    file(join(here, "d", "sub", "new"), "new", 0o600, 1);
    file(join(here, "d", "same"), "mine", 0o640, 2);
    symlinkSync("same", join(here, "d", "link"));
    file(join(there, "d", "same"), "theirs", 0o600, 3);
    file(join(there, "d", "sub", "old"), "old", 0o600, 4);
    chmodSync(join(there, "d"), 0o700);
    await copyToVm(vm, [join(here, "d")], there);
    expect(
      tree(there)
        .map((line) =>
          line
            .split(" ")
            .filter((_word, index) => index !== 2)
            .join(" "),
        )
        .slice(1),
    ).toEqual(["d 700", "d/link ->", "d/same 640 4", "d/sub 755", "d/sub/new 600 3", "d/sub/old 600 3"]);
    file(join(here, "d", "same"), "again", 0o600, 5);
    await copyFromVm(vm, [join(there, "d")], here);
    expect(readFileSync(join(here, "d", "same"), "utf8")).toBe("mine");
    expect(readFileSync(join(here, "d", "sub", "old"), "utf8")).toBe("old");
    expect([readdirSync(here), readdirSync(there)]).toEqual([["d"], ["d"]]);
  });

  it("copies several into a folder, or one under another name", async () => {
    file(join(here, "a"), "a", 0o600, 1);
    file(join(here, "b"), "b", 0o600, 1);
    await copyToVm(vm, [join(here, "a"), join(here, "b")], there);
    await copyToVm(vm, [join(here, "a")], `${there}/c`);
    await copyFromVm(vm, [`${there}/b`, `${there}/c`], here);
    await copyFromVm(vm, [`${there}/b`], join(here, "e"));
    expect([readdirSync(here), readdirSync(there)]).toEqual([
      ["a", "b", "c", "e"],
      ["a", "b", "c"],
    ]);
    symlinkSync("a", join(there, "link"));
    await copyFromVm(vm, [`${there}/link`], here);
    expect(readFileSync(join(here, "link"), "utf8")).toBe("a");
  });

  it("says what is wrong, and leaves nothing behind", async () => {
    file(join(here, "a"), "a", 0o600, 1);
    mkdirSync(join(here, "d"));
    mkdirSync(join(there, "a"));
    expect(await failure(copyToVm(vm, [join(here, "a")], `${there}/no/where`))).toMatch(
      /there\/no\/where in the guest could not be written: .*there\/no\/: there is no such folder\.$/,
    );
    expect(await failure(copyToVm(vm, [join(here, "a"), join(here, "d")], `${there}/x`))).toMatch(/no such folder/);
    expect(await failure(copyToVm(vm, [join(here, "a")], there))).toMatch(/there\/a: is a folder\.$/);
    expect(await failure(copyToVm(vm, [join(here, "nothing")], there))).toMatch(/nothing cannot be read \(ENOENT\)/);
    expect(await failure(copyFromVm(vm, [`${there}/nothing`], here))).toMatch(/could not be read: .*no such file or/);
    expect(await failure(copyFromVm(vm, [`${there}/a`], `${here}/no/where`))).toMatch(
      /There is no folder .*here\/no\./,
    );
    expect(await failure(copyFromVm(vm, [`${there}/a`], here))).toMatch(/here\/a is no folder, and what is copied/);
    expect(await failure(copyFromVm(vm, ["/"], here))).toMatch(/name a folder in it/);
    expect([tree(here).length, tree(there).length]).toEqual([3, 2]);
  });
});

it("says that a guest has no tar", async () => {
  file(join(here, "a"), "a", 0o600, 1);
  const bin = join(directory, "bin");
  mkdirSync(bin);
  for (const name of ["sh", "mktemp", "rm"]) symlinkSync(`/bin/${name}`, join(bin, name));
  guest(new ShellAgent("twinmetal", bin));
  expect(await failure(copyToVm(vm, [join(here, "a")], there))).toMatch(/the guest has no tar\.$/);
  expect(readdirSync(there)).toEqual([]);
});

it("does not wait for a guest that stands still, or is given up", async () => {
  guest({});
  (control.vm as { state: string }).state = "paused";
  expect(await failure(copyFromVm(vm, ["/x"], here))).toMatch(/VM box is paused.*twinmetal resume box/);
  guest({ connect: () => new Promise(() => {}) });
  expect(await failure(copyFromVm(vm, ["/x"], here, { signal: AbortSignal.timeout(20) }))).toMatch(/timeout/);
});

describe("a guest that means harm", () => {
  const dir = (path: string) => ({ path, typeFlag: "5" });
  const harm: Record<string, { path: string; data?: string; typeFlag?: string }[]> = {
    "a name with ..": [dir("./d"), { path: "./d/../../here/evil", data: "x" }],
    "another root": [dir("./d"), { path: "./e", data: "x" }],
    "a file in a folder that did not come": [dir("./d"), { path: "./d/e/f", data: "x" }],
    "a file through a link": [dir("./d"), { path: "./d/l", typeFlag: "2" }, { path: "./d/l/f", data: "x" }],
    "a name twice": [dir("./d"), { path: "./d/f", data: "x" }, { path: "./d/f", data: "y" }],
    "nothing at all": [],
  };
  it.each(Object.entries(harm))("%s", async (_what, entries) => {
    guestThatSends([tarFile(...entries)]);
    expect(await failure(copyFromVm(vm, ["/d"], here))).toMatch(/cannot be taken: .*Nothing was copied\.$/);
    expect(readdirSync(here)).toEqual([]);
    expect(readdirSync(directory).sort()).toEqual(["here", "s", "there"]);
  });

  it("links that lead out, devices and FIFOs stay behind, and set-user-ID bits do", async () => {
    const link = (path: string, target: string): Buffer => {
      const header = Buffer.from(tarEntry({ path, typeFlag: "2" }));
      header.fill(0, 157, 257);
      header.write(target, 157);
      setChecksum(header);
      return header;
    };
    const suid = Buffer.from(tarEntry({ path: "d/suid", data: "x" }));
    suid.write("0006755", 100);
    setChecksum(suid.subarray(0, 512));
    guestThatSends([
      Buffer.concat([
        tarEntry(dir("d")),
        link("d/in", "suid"),
        link("d/abs", "/etc/passwd"),
        link("d/up", "../x"),
        link("d/inout", "a/../../x"),
        tarEntry({ path: "d/null", typeFlag: "3" }),
        tarEntry({ path: "d/fifo", typeFlag: "6" }),
        tarEntry({ path: "d/hard", typeFlag: "1" }),
        suid,
        Buffer.alloc(1024),
      ]),
    ]);
    const { leftOut, files, links } = await copyFromVm(vm, ["/d"], here);
    expect({ files, links, leftOut: leftOut.length }).toEqual({ files: 1, links: 1, leftOut: 6 });
    expect(readdirSync(join(here, "d"))).toEqual(["in", "suid"]);
    expect(statSync(join(here, "d", "suid")).mode & 0o7777).toBe(0o755);
  });

  it("bytes without end, a file that is announced too large, and an archive that stops", async () => {
    const endless = async function* (start: Uint8Array): AsyncGenerator<Uint8Array> {
      yield start;
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve));
        yield Buffer.alloc(65_536);
      }
    };
    guestThatSends(endless(tarFile(dir("d"))));
    expect(await failure(copyFromVm(vm, ["/d"], here, { maxBytes: 2 ** 20 }))).toMatch(/more than 1 MiB/);
    const large = Buffer.from(tarEntry({ path: "f" }));
    large.write("00100000000\0", 124);
    setChecksum(large);
    guestThatSends([large]);
    expect(await failure(copyFromVm(vm, ["/f"], here, { maxBytes: 2 ** 20 }))).toMatch(/more than 1 MiB/);
    guestThatSends([tarEntry({ path: "f", data: "x".repeat(2000) }).subarray(0, 1000)]);
    expect(await failure(copyFromVm(vm, ["/f"], here))).toMatch(/cut off/);
    expect(readdirSync(here)).toEqual([]);
  });
});
