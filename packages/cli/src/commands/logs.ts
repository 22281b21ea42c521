/** `twinmetal logs NAME`: what the guest of a VM that stays has written on its serial console. */
import { existsSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { defineCommand, type Io } from "../command.ts";
import { namedVms } from "../named-vms.ts";
import { flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";

const LOOK_MS = 200;

export const LOGS = defineCommand({
  name: "logs",
  summary: "print what the guest has written on its console",
  usage: "NAME [--follow] [--process]",
  text: [
    "The last MiB of it is kept, from one run to the next. With --process, what Twinmetal has said of the VM since it was last started.",
  ],
  options: {
    follow: flag(
      "follow",
      "Go on with what is written from now on, until Ctrl-C; one that has never run is waited for.",
      "f",
    ),
    process: flag("process", "The log of the VM's process instead."),
  },
  examples: [
    ["twinmetal logs -f box", "and goes on"],
    ["twinmetal logs --process box", "why did it not start?"],
  ],
  execute: async (io, { values, operands: [name, extra], rest }) => {
    if (name === undefined) throw new UsageError("which VM? Give its name; see: twinmetal ls");
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    const vms = namedVms(io);
    await vms.observe(name);
    const folder = vms.store.folder(name);
    const path = values.process ? folder.log : folder.console;
    await print(io, { name, path, folder: folder.path, follows: values.follow === true });
    return 0;
  },
});

interface Log {
  /** Of the VM. */
  readonly name: string;
  readonly path: string;
  readonly folder: string;
  readonly follows: boolean;
}

async function print(io: Io, log: Log): Promise<void> {
  const buffer = Buffer.alloc(64 * 1024);
  let isOver = false;
  const stops = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) =>
    io.onSignal(signal, () => {
      isOver = true;
    }),
  );
  io.stdout.on("error", () => {
    isOver = true;
  });
  let file: FileHandle | undefined;
  try {
    file = await opened(io, log, () => isOver);
    for (let at = 0; file && !isOver; ) {
      const { size, nlink } = await file.stat();
      // Its first half goes when it is full.
      at = Math.min(at, size);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      at += bytesRead;
      if (bytesRead > 0) await write(io, Buffer.from(buffer.subarray(0, bytesRead)));
      else if (log.follows && nlink > 0) await sleep(LOOK_MS);
      else break;
    }
  } finally {
    await file?.close();
    for (const stop of stops) stop();
  }
}

/** Undefined: nothing was ever written, or the VM is removed before anything is. A VM's first start makes its logs. */
async function opened(io: Io, log: Log, isOver: () => boolean): Promise<FileHandle | undefined> {
  for (let isTold = false; !isOver(); await sleep(LOOK_MS)) {
    const file = await open(log.path, "r").catch(() => undefined);
    if (file || !existsSync(log.folder)) return file;
    const what = log.follows ? "what it writes is waited for; Ctrl-C ends that" : "nothing is written yet";
    if (!isTold) io.stderr.write(`twinmetal: VM ${log.name} has never run: ${what}.\n`);
    if (!log.follows) return undefined;
    isTold = true;
  }
  return undefined;
}

async function write({ stdout }: Io, bytes: Uint8Array): Promise<void> {
  if (stdout.write(bytes)) return;
  await new Promise<void>((resolve) => {
    stdout.once("drain", resolve).once("error", () => resolve());
  });
}
