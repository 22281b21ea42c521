/**
 * How much an idle VM costs: `node bench/density.mjs [COUNT]` starts so many `tiny` guests (50), each in a process of its own, waits
 * until they are idle, and prints memory and processor time for each, as one JSON object. Linux only; needs a quiet host.
 *
 *   rssMiB, pssMiB   of a VM's process: all that is resident; what it shares with others divided among them
 *   hostMiB          what less is available on the host, for each VM
 *   cpuPercent       of one processor
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const COUNT = Number(process.argv[2] ?? 50);
const MEMORY = "128M";
const AT_ONCE = 2;
const SETTLE_MS = 20_000;
const LOOK_MS = 30_000;
/** A busy host starts two at once in a minute. */
const START_MS = 300_000;
/** What a terminal is told, such as the shell's question where its cursor is, which follows the prompt. */
const ESCAPES = /\x1b\[[0-9;?]*[A-Za-z]/g;
const PROGRAM = fileURLToPath(new URL("../packages/cli/bin/twinmetal.mjs", import.meta.url));

/** Resolves at the guest's prompt. */
function start() {
  const child = spawn(process.execPath, [PROGRAM, "run", "-m", MEMORY, "--serial", "stdio"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ready = new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (data) => {
      text = (text + data).slice(-4096);
      if (/[#$] $/.test(text.replace(ESCAPES, ""))) resolve(child);
    });
    child.once("exit", (status) => reject(new Error(`a VM ended with status ${status} while it started`)));
    const late = () => reject(new Error(`a VM shows no prompt after ${START_MS / 1000} s, but: ${text}`));
    setTimeout(late, START_MS).unref();
  });
  ready.catch(() => {}); // What is wrong with the first one of two is told.
  return { child, ready };
}

function usage(pid) {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(rollup)?.[1] ?? 0);
  const [, fields] = /\) (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8"));
  const words = fields.split(" ");
  return { rssMiB: kib("Rss") / 1024, pssMiB: kib("Pss") / 1024, cpuS: (Number(words[11]) + Number(words[12])) / 100 };
}

const available = () => Number(/MemAvailable:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))[1]) / 1024;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

const before = available();
const children = [];
try {
  while (children.length < COUNT) {
    const batch = Array.from({ length: Math.min(AT_ONCE, COUNT - children.length) }, start);
    children.push(...batch.map(({ child }) => child));
    await Promise.all(batch.map(({ ready }) => ready));
    process.stderr.write(`${children.length} of ${COUNT} run\n`);
  }
  await sleep(SETTLE_MS);
  const first = children.map(({ pid }) => usage(pid));
  await sleep(LOOK_MS);
  const second = children.map(({ pid }) => usage(pid));
  const cpu = second.map(({ cpuS }, i) => (100 * (cpuS - first[i].cpuS)) / (LOOK_MS / 1000));
  const figures = {
    count: COUNT,
    guestMemory: MEMORY,
    rssMiB: mean(second.map(({ rssMiB }) => rssMiB)),
    pssMiB: mean(second.map(({ pssMiB }) => pssMiB)),
    hostMiB: (before - available()) / COUNT,
    cpuPercent: mean(cpu),
  };
  console.log(JSON.stringify(figures));
} finally {
  for (const child of children) child.kill("SIGKILL");
}
