/** `--sandbox`, as a user meets it: VMs run in a process that is locked down, and what cannot be locked is said. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureFirmware } from "../../packages/host/src/firmware/firmware-files.ts";
import { bareKernel, GUESTS } from "../guest/bare-kernel.ts";
import { type TinyGuest, tinyGuest } from "../guest/tiny-guest.ts";
import { OTHER_USER, type ReadableBuild, readableBuild, whyNoSandbox } from "./unprivileged.ts";

const TIMEOUT_MS = 120_000;
const MIB = 2 ** 20;
const isRoot = process.getuid?.() === 0;
const users = isRoot ? [0, OTHER_USER] : [process.getuid?.() ?? OTHER_USER];

let build: ReadableBuild;
let guest: TinyGuest = { missing: "not looked for" };

interface Ending {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const program = (root: string): string => join(root, "node_modules/@twinmetal/cli/bin/twinmetal.mjs");
const kernel = (name: keyof typeof GUESTS): string => join(build.root, name);

function settings(user: number, cwd: string) {
  const env = { ...process.env, HOME: cwd, TWINMETAL_TRANSLATION_CACHE: "off" };
  return { cwd, env, ...(isRoot && { uid: user, gid: user }) };
}

function run(user: number, args: readonly string[], cwd = build.directoryOf(user), root = build.root): Ending {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program(root), "run", ...args], {
    ...settings(user, cwd),
    encoding: "utf8",
    timeout: TIMEOUT_MS,
  });
  return { status, stdout, stderr };
}

beforeAll(async () => {
  build = readableBuild();
  for (const name of ["hello", "spinning"] as const) {
    writeFileSync(kernel(name), bareKernel(GUESTS[name]));
    chmodSync(kernel(name), 0o644);
  }
  guest = await tinyGuest();
}, TIMEOUT_MS);
afterAll(() => build.remove());

describe.skipIf(whyNoSandbox() !== undefined)("twinmetal run --sandbox", { timeout: TIMEOUT_MS }, () => {
  it.for(users)("strict: runs Linux and a command for user %i", { timeout: 2 * TIMEOUT_MS }, (user, { skip }) => {
    if ("missing" in guest) return skip(guest.missing);
    const files = { kernel: join(build.root, "vmlinuz"), initrd: join(build.root, "initrd") };
    copyFileSync(guest.image.kernelPath, files.kernel);
    copyFileSync(guest.image.initrdPath, files.initrd);
    for (const path of Object.values(files)) chmodSync(path, 0o644);
    const own = build.directoryOf(user);
    const boot = ["--kernel", files.kernel, "--initrd", files.initrd];
    const kept = ["--record", "run.rec", "--serial", "file=console"];
    const command = ["--", "sh", "-c", "echo from $(uname -s); exit 7"];
    const { status, stdout, stderr } = run(user, ["--sandbox", "strict", ...boot, ...kept, ...command], own);
    expect({ status, stdout, stderr }).toEqual({ status: 7, stdout: "from Linux\n", stderr: "" });
    expect(statSync(join(own, "run.rec")).size).toBeGreaterThan(10_000);
    expect(existsSync(join(own, "console"))).toBe(true);
  });

  it("strict: starts SeaBIOS with a screen", async ({ skip }) => {
    const user = users.at(-1)!;
    const why = await ensureFirmware("bios").then(
      ({ vga }) => (vga === undefined ? "there is no VGA BIOS" : undefined),
      (error: Error) => error.message,
    );
    if (why !== undefined) return skip(why);
    const disk = join(build.directoryOf(user), "disk.img");
    writeFileSync(disk, new Uint8Array(MIB));
    if (isRoot) chownSync(disk, user, user);
    const options = ["--memory", "32M", "--timeout", "15", "--disk", disk];
    const { stdout, stderr } = run(user, ["--sandbox", "strict", "--firmware", "bios", ...options]);
    expect(stderr).not.toMatch(/sandbox:|cannot be read/);
    expect(stdout).toContain("Booting from Hard Disk");
  });

  it.each(users)("leaves user %i's VM no rights in any thread while its guest runs", async (user) => {
    const args = [program(build.root), "run", "--sandbox", "on", "--kernel", kernel("spinning")];
    const child = spawn(process.execPath, args, settings(user, build.directoryOf(user)));
    try {
      await says(child, "spinning");
      const threads = readdirSync(`/proc/${child.pid}/task`).map((id) =>
        readFileSync(`/proc/${child.pid}/task/${id}/status`, "utf8"),
      );
      expect(threads.length).toBeGreaterThan(5);
      for (const status of threads) {
        const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
        expect([field("Seccomp"), field("NoNewPrivs")]).toEqual(["2", "1"]);
        expect([field("CapPrm"), field("CapEff"), field("CapAmb")].map((hex) => Number.parseInt(hex, 16))).toEqual([
          0, 0, 0,
        ]);
        const ids = field("Uid").split(/\s+/).map(Number);
        expect(new Set(ids).size).toBe(1);
        expect(ids).not.toContain(0);
        if (user === 0) expect(ids[0]).toBeGreaterThanOrEqual(0x7000_0000);
      }
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("off, and auto with the jit engine: the process stays as it is", async () => {
    for (const choice of [["--sandbox", "off"], []]) {
      const args = [program(build.root), "run", ...choice, "--kernel", kernel("spinning")];
      const child = spawn(process.execPath, args, settings(users[0]!, build.directoryOf(users[0]!)));
      try {
        await says(child, "spinning");
        expect(readFileSync(`/proc/${child.pid}/status`, "utf8")).toMatch(/^Seccomp:\s*0$/m);
      } finally {
        child.kill("SIGKILL");
      }
    }
  });

  it("answers wrong options and missing files as without it", () => {
    const user = users.at(-1)!;
    const missing = run(user, ["--sandbox", "strict", "--kernel", "no-such-file"]);
    expect(missing.status).toBe(125);
    expect(missing.stderr).toContain("There is no kernel file no-such-file.");
    const other = run(user, ["--sandbox", "tight"]);
    expect(other.status).toBe(2);
    expect(other.stderr).toContain('"tight" is not one of auto, on, strict, off.');
    for (const [option, value] of [
      ["migration-socket", "control"],
      ["incoming", "unix:incoming"],
    ] as const) {
      const both = run(user, ["--sandbox", "on", `--${option}`, value]);
      expect(both.status).toBe(2);
      expect(both.stderr).toContain(`--sandbox on and --${option} exclude each other`);
    }
  });

  it.runIf(isRoot)("strict: refuses a process that has to stay root, and says why", () => {
    const { status, stderr } = run(0, ["--sandbox", "strict", "--kernel", kernel("hello"), "--save", "state"]);
    expect(status).toBe(125);
    expect(stderr).toContain("user: The process stays root, though without its rights, since state is written");
  });

  it("without koffi: strict refuses, on says so and runs", () => {
    const bare = readableBuild({ hasKoffi: false });
    try {
      const user = users.at(-1)!;
      const own = build.directoryOf(user);
      const strict = run(user, ["--sandbox", "strict", "--kernel", kernel("hello")], own, bare.root);
      expect(strict).toMatchObject({ status: 125, stdout: "" });
      expect(strict.stderr).toMatch(
        /^twinmetal: The sandbox is not whole here\. native-calls: The optional package koffi/,
      );
      const loose = run(user, ["--sandbox", "on", "--kernel", kernel("hello")], own, bare.root);
      expect(loose).toMatchObject({ status: 0, stdout: "hello, world\n" });
      expect(loose.stderr).toMatch(/^twinmetal: sandbox: native-calls: off: The optional package koffi does not load/);
    } finally {
      bare.remove();
    }
  });
});

async function says(child: ChildProcess, text: string): Promise<void> {
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.stdout!.on("data", (data: Buffer) => {
      said += data.toString();
      if (said.includes(text)) resolve();
    });
    child.stderr!.on("data", (data: Buffer) => {
      said += data.toString();
    });
    child.once("exit", (status) => reject(new Error(`status ${status}: ${said}`)));
  });
}
