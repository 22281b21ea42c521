// What code that has broken out of a guest would try, from inside of the process: each by the system call itself, from
// the main thread, from a thread that was there before the lock-down, and from one that came after. Prints one line of
// JSON. Run by lock-down.test.ts.
//
//   node attempts.mjs HOST_DIST SECRET_FILE READABLE_FILE sandbox|control|kvm|kvm-control
//
// kvm, kvm-control: tries KVM instead, by its probe, which runs a guest of a few instructions.

import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const given = isMainThread ? process.argv.slice(2) : workerData;
const [dist, secret, readable, mode] = given;
const host = (file) => import(pathToFileURL(join(dist, file)).href);
const { processCalls } = await host("kvm/process-calls.js");
const calls = processCalls();

const ERRNO = { 1: "EPERM", 2: "ENOENT", 3: "ESRCH", 13: "EACCES", 14: "EFAULT", 22: "EINVAL", 38: "ENOSYS" };
const answer = (result) => (result >= 0 ? "done" : (ERRNO[-result] ?? `errno ${-result}`));
const call = (number, ...args) => answer(calls.call(number, ...args));
const text = (string) => Buffer.from(`${string}\0`);

function reach(action) {
  try {
    action();
    return "done";
  } catch (error) {
    return error.code ?? String(error);
  }
}

const say = (report) => new Promise((resolve) => process.stdout.write(`${JSON.stringify(report)}\n`, resolve));

/** With arguments that make each of them fail otherwise, or do nothing, where it is allowed. */
function attempts() {
  const AF = { UNIX: 1, INET: 2, PACKET: 17 };
  const [STREAM, RAW] = [1, 3];
  const PTRACE_PEEKDATA = 2;
  return {
    execve: answer(calls.execute("/no/such/program", ["x"], [])),
    execveat: call(322, -100, text("/no/such/program"), 0, 0, 0),
    spawn: reach(() => {
      const { error } = spawnSync("/bin/true");
      if (error) throw error;
    }),
    ptrace: call(101, PTRACE_PEEKDATA, 0, 0, 0),
    process_vm_readv: call(310, 0, 0, 0, 0, 0),
    mount: call(165, 0, 0, 0, 0, 0),
    umount2: call(166, text("/no/such/place"), 0),
    unshare: call(272, 0),
    chroot: call(161, text("/no/such/place")),
    bpf: call(321, 99, 0, 0),
    keyctl: call(250, 99, 0),
    init_module: call(175, 0, 0, 0),
    setuid: call(105, 0xffffffff),
    capset: call(126, 0, 0),
    seccomp: call(317, 99, 0, 0),
    io_uring: call(425, 0, 0),
    chmod: call(90, text("/no/such/place"), 0),
    rawSocket: call(41, AF.INET, RAW, 1),
    packetSocket: call(41, AF.PACKET, RAW, 0),
    tcpSocket: call(41, AF.INET, STREAM, 0),
    unixSocket: call(41, AF.UNIX, STREAM, 0),
    signalParent: call(62, process.ppid, 0),
    x32: call(0x40000000 | 39),
    secretFile: reach(() => closeSync(openSync(secret, "r"))),
    secretFileByCall: call(2, text(secret), 0),
    passwords: reach(() => closeSync(openSync("/etc/passwd", "r"))),
    parentMemory: reach(() => closeSync(openSync(`/proc/${process.ppid}/mem`, "r"))),
    newFile: reach(() => writeFileSync(`${secret}.new`, "")),
    readableFile: reach(() => readFileSync(readable)),
  };
}

if (!isMainThread) {
  parentPort.once("message", () => parentPort.postMessage(attempts()));
} else {
  const startThread = () => new Worker(new URL(import.meta.url), { workerData: given });
  const fromThread = (worker) =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve).once("error", reject);
      worker.postMessage("go");
    });
  const { confineAndRestart, seal, takeConfined } = await host("sandbox/index.js");
  const isSandboxed = mode === "sandbox" || mode === "kvm";
  const triesKvm = mode.startsWith("kvm");
  const plan = {
    files: [
      { path: readable, access: "read" },
      { path: "/dev/kvm", access: "write" },
    ],
    ...(triesKvm && { staysRoot: "It opens /dev/kvm afterwards." }),
  };
  const confined = isSandboxed ? (takeConfined() ?? confineAndRestart(plan)) : undefined;
  const early = startThread();
  await new Promise((resolve) => early.once("online", resolve));
  const findings = isSandboxed ? seal({ hasKvm: triesKvm }, confined) : [];
  if (triesKvm) {
    const { probeKvm } = await host("kvm/probe.js");
    const { isUsable, facts } = probeKvm();
    const { apiVersion, selfTest } = facts ?? {};
    await say({
      findings,
      isUsable,
      apiVersion,
      hasRun: selfTest?.loopsPerSecond > 0,
      failedAt: selfTest?.failure?.step,
    });
    process.exit(0);
  }
  const main = attempts();
  const before = await fromThread(early);
  const after = await fromThread(startThread());
  await say({ findings, main, before, after });
  process.exit(0);
}
