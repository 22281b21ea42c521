/** `twinmetal logs NAME`: what the guest of a VM that stays has written on its serial console. */
import { open } from "node:fs/promises";
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
    follow: flag("follow", "Go on with what is written from now on; Ctrl-C ends that.", "f"),
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
    await print(io, values.process ? folder.log : folder.console, values.follow === true);
    return 0;
  },
});

async function print(io: Io, path: string, follows: boolean): Promise<void> {
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
  const file = await open(path, "r").catch(() => undefined); // Nothing was ever written.
  try {
    for (let at = 0; file && !isOver; ) {
      // Its first half goes when it is full.
      at = Math.min(at, (await file.stat()).size);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      at += bytesRead;
      if (bytesRead > 0) await write(io, Buffer.from(buffer.subarray(0, bytesRead)));
      else if (follows) await sleep(LOOK_MS);
      else break;
    }
  } finally {
    await file?.close();
    for (const stop of stops) stop();
  }
}

async function write({ stdout }: Io, bytes: Uint8Array): Promise<void> {
  if (stdout.write(bytes)) return;
  await new Promise<void>((resolve) => {
    stdout.once("drain", resolve).once("error", () => resolve());
  });
}
