/** `twinmetal cp SRC... DST`: files and folders between this host and a running VM. */
import { constants } from "node:os";
import { defineCommand, type Io } from "../command.ts";
import { JSON_FLAG } from "../named-vms.ts";
import { option } from "../options.ts";
import { ProgressLine } from "../progress-line.ts";
import { parseSize } from "../quantities.ts";
import { CommandError, UsageError } from "../usage-error.ts";
import type { CopyResult } from "../vm-library.ts";

/** What is over by then shows no progress. */
const QUIET_MS = 1000;

export const CP = defineCommand({
  name: "cp",
  summary: "copy files and folders between this host and a running VM",
  usage: "SRC... DST",
  text: [
    "One side is VM:/path, with a name of `twinmetal ls` (or a control socket) and an absolute path in the guest; the other is of this host. A file here whose name has a colon is written ./a:b. Folders are copied with all that is in them. Where DST is a folder, or several things are copied, they come into it; else DST is the copy's name. Folders that are there already are filled, files are replaced.",
    "Modes and times are kept, owners are not: a copy belongs to you, or to the guest's root. Symbolic links are kept as links, and followed where they are SRC themselves. Out of a guest comes nothing that could lead elsewhere: links out of what is copied, devices, set-user-ID bits are left out. What comes half leaves nothing behind. The guest needs an agent (Twinmetal's, or qemu-guest-agent) and tar.",
    "Status: 0 copied, 125 not (the reason is on standard error), 2 bad usage.",
  ],
  options: {
    maxSize: option(
      "max-size",
      "SIZE",
      "Out of a guest: at most so much, 10G say. Default: nine tenths of what is free on the disk.",
      parseSize,
    ),
    json: JSON_FLAG,
  },
  examples: [
    ["twinmetal cp notes.txt src box:/srv/", "a file and a folder into the guest"],
    ["twinmetal cp box:/etc/passwd .", "out of it"],
    ["twinmetal cp box:/var/log logs", "a folder; if logs is one already: logs/log"],
  ],
  execute: async (io, { values, operands, rest }) => {
    const target = operands.at(-1);
    const sources = operands.slice(0, -1);
    if (rest !== undefined) throw new UsageError(`"--" is one word too many.`);
    if (target === undefined || sources.length === 0)
      throw new UsageError("what, and where to? Give: twinmetal cp SRC... DST, with VM:/path on one side.");
    const to = guestPath(target);
    const from = sources.map(guestPath);
    const [first] = from;
    if (to && from.some((path) => path !== undefined))
      throw new UsageError("from one VM into another? Copy to this host first, and from there.");
    if (to) return await whileCopying(io, values.json, (hooks) => io.library.copyToVm(to.vm, sources, to.path, hooks));
    if (!first) throw new UsageError("which VM? One side is VM:/path, as in: twinmetal cp notes.txt box:/srv/");
    const paths = from.map((path) => {
      if (path?.vm === first.vm) return path.path;
      throw new UsageError(`all sources have to be of one VM, ${first.vm}.`);
    });
    return await whileCopying(io, values.json, (hooks) =>
      io.library.copyFromVm(first.vm, paths, target, { ...hooks, maxBytes: values.maxSize }),
    );
  },
});

/** Undefined: of this host. Throws UsageError. */
function guestPath(word: string): { readonly vm: string; readonly path: string } | undefined {
  const [, vm, path = ""] = /^([^/:]+):(.*)$/s.exec(word) ?? [];
  if (vm === undefined || vm.startsWith(".")) return undefined;
  if (path.startsWith("/")) return { vm, path };
  throw new UsageError(`"${word}": a path in a guest is absolute, as in ${vm}:/srv/${path}`);
}

type Hooks = Parameters<Io["library"]["copyToVm"]>[3];

async function whileCopying(
  io: Io,
  isJson: boolean | undefined,
  copy: (hooks: NonNullable<Hooks>) => Promise<CopyResult>,
): Promise<number> {
  const abort = new AbortController();
  const stops = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((name) =>
    io.onSignal(name, () => {
      abort.abort(new CommandError(`Given up (${name}). Nothing half was left.`, 128 + constants.signals[name]));
    }),
  );
  const line = new ProgressLine(io);
  const startMs = performance.now();
  try {
    const result = await copy({
      signal: abort.signal,
      onProgress: (progress) => {
        if (performance.now() - startMs > QUIET_MS) line.report(progress);
      },
    });
    line.clear();
    for (const what of result.leftOut) io.stderr.write(`twinmetal: left out: ${what}\n`);
    if (isJson) io.stdout.write(`${JSON.stringify(result)}\n`);
    return 0;
  } finally {
    line.clear();
    for (const stop of stops) stop();
  }
}
