/**
 * The sandbox from inside: attempts.mjs locks itself down as a VM's process does, then tries what code that broke out of a
 * guest would. Each attempt is made without the sandbox as well, so that its failure proves something.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OTHER_USER, type ReadableBuild, readableBuild, whyNoSandbox } from "./unprivileged.ts";

type Attempts = Readonly<Record<string, string>>;
interface Report {
  readonly findings: readonly { readonly layer: string; readonly state: string; readonly detail: string }[];
  readonly main: Attempts;
  /** From a thread that was there before the lock-down, and one that came after it. */
  readonly before: Attempts;
  readonly after: Attempts;
}

const REFUSED_CALLS = [
  "execve",
  "execveat",
  "spawn",
  "ptrace",
  "process_vm_readv",
  "mount",
  "umount2",
  "unshare",
  "chroot",
  "bpf",
  "keyctl",
  "init_module",
  "setuid",
  "capset",
  "seccomp",
  "io_uring",
  "chmod",
  "rawSocket",
  "packetSocket",
  "tcpSocket",
  "unixSocket",
  "signalParent",
  "x32",
];
const REFUSED_FILES = ["secretFile", "secretFileByCall", "passwords", "parentMemory", "newFile"];
/** Refused to ordinary users anyway, by another errno or the same. */
const NEEDS_ROOT = new Set([
  "rawSocket",
  "packetSocket",
  "umount2",
  "chroot",
  "bpf",
  "init_module",
  "mount",
  "signalParent",
]);

const isRoot = process.getuid?.() === 0;
const users = isRoot ? [0, OTHER_USER] : [process.getuid?.() ?? OTHER_USER];
let build: ReadableBuild;

function run<T = Report>(user: number, mode: "sandbox" | "control" | "kvm" | "kvm-control"): T {
  const own = build.directoryOf(user);
  const [secret, readable] = [join(own, "secret"), join(own, "readable")];
  for (const path of [secret, readable]) {
    writeFileSync(path, "x", { mode: 0o600 });
    if (isRoot) spawnSync("chown", [`${user}:${user}`, path]);
  }
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [join(build.root, "attempts.mjs"), join(build.root, "node_modules/@twinmetal/host/dist"), secret, readable, mode],
    { encoding: "utf8", cwd: own, timeout: 50_000, ...(isRoot && { uid: user, gid: user }) },
  );
  if (status !== 0) throw new Error(`status ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

beforeAll(() => {
  build = readableBuild();
  cpSync(new URL("attempts.mjs", import.meta.url), join(build.root, "attempts.mjs"));
});
afterAll(() => build.remove());

describe.skipIf(whyNoSandbox() !== undefined)("the sandbox, from inside", () => {
  it.each(users)("holds for user %i, in all threads", (user) => {
    const { findings, main, before, after } = run(user, "sandbox");
    const control = run(user, "control");
    const state = (layer: string): string | undefined => findings.find((finding) => finding.layer === layer)?.state;
    for (const layer of ["no-new-privileges", "capabilities", "user", "system-calls", "memory-dumps"])
      expect([layer, state(layer)]).toEqual([layer, "on"]);
    for (const attempts of [main, before, after]) {
      for (const name of REFUSED_CALLS) expect([name, attempts[name]]).toEqual([name, "EPERM"]);
      expect(attempts["readableFile"]).toBe(user === 0 ? "EACCES" : "done");
      // Without Landlock, and the findings say so, files of the same user stay within reach.
      if (state("files") !== "on") continue;
      for (const name of REFUSED_FILES) expect([name, attempts[name]]).toEqual([name, "EACCES"]);
    }
    for (const name of [...REFUSED_CALLS, "secretFile", "secretFileByCall", "passwords", "newFile"]) {
      const isRefusedAnyway = user !== 0 && NEEDS_ROOT.has(name);
      if (!isRefusedAnyway)
        expect([name, control.main[name]]).not.toEqual([name, expect.stringMatching(/EPERM|EACCES/)]);
    }
    expect(findings.some(({ layer, state }) => layer === "resources" && state === "off")).toBe(true);
  });

  it.runIf(isRoot && existsSync("/dev/kvm"))("lets KVM run a guest, as without it", () => {
    const { findings, ...sandboxed } = run<Readonly<Record<string, unknown>>>(0, "kvm");
    const { findings: none, ...control } = run<Readonly<Record<string, unknown>>>(0, "kvm-control");
    expect(findings).toContainEqual(expect.objectContaining({ layer: "system-calls", state: "on" }));
    expect(none).toEqual([]);
    expect(sandboxed).toEqual(control);
  });

  it.runIf(isRoot)("makes of root a user of its own, another one each time", () => {
    const detail = (): string => run(0, "sandbox").findings.find(({ layer }) => layer === "user")!.detail;
    const [first, second] = [detail(), detail()];
    expect(first).toMatch(/^All threads are user \d{10},/);
    expect(second).not.toBe(first);
  });
});
