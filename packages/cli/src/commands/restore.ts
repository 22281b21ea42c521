/** `twinmetal restore FILE`: a saved VM goes on, on this terminal, or as a VM that stays. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { defineCommand, type Io } from "../command.ts";
import { DISK } from "../disk-choice.ts";
import { engineNotice } from "../engine-notice.ts";
import { GDB } from "../gdb-choice.ts";
import { hostVm } from "../hosting.ts";
import { LIMIT, limitsOf } from "../limit-choice.ts";
import { ALLOW, FORWARD, NET, NET_LOG, networkSockets, networksOf, PCAP } from "../network-choice.ts";
import { choice, flag, type OptionValues, option, type ParsedLine, parseLine } from "../options.ts";
import { POLICY, type RunLine, underPolicy } from "../policy-choice.ts";
import { parseTimeout } from "../quantities.ts";
import { checkSandbox, SANDBOX, sandboxPlan, vmConfinement } from "../sandbox.ts";
import { parseSerialTarget } from "../serial-target.ts";
import { SHARE } from "../share-choice.ts";
import { checkStartsAnew, stateOptions } from "../state-options.ts";
import { TRANSLATION_CACHE, translationCache } from "../translation-cache.ts";
import { UsageError } from "../usage-error.ts";
import {
  copyState,
  type EngineQuestion,
  type MachineSpec,
  specWords,
  switchCardsOfSpec,
  type TinyImage,
} from "../vm-library.ts";
import { promiseOf, RUN_OPTIONS, runDetached } from "./run.ts";

const OPTIONS = {
  kernel: option(
    "kernel",
    "FILE",
    "The kernel that the VM was started from, where that was no image: a reboot of the guest needs it.",
  ),
  initrd: option("initrd", "FILE", "Its initial RAM disk."),
  firmware: option("firmware", "FILE", "The firmware that it was started from, where that is none of Debian's."),
  disk: DISK,
  net: NET,
  allow: ALLOW,
  forward: FORWARD,
  netLog: NET_LOG,
  pcap: PCAP,
  vsockPath: option(
    "vsock-path",
    "PATH",
    "Where this host's programs reach the sockets of a VM that was started with --vsock, as its uds=PATH.",
  ),
  share: SHARE,
  limit: LIMIT,
  serial: option(
    "serial",
    "WHERE",
    "The guest's serial console: stdio (default), null, file=PATH or socket=PATH.",
    parseSerialTarget,
  ),
  engine: choice("engine", ["auto", "jit", "kvm"], "What executes the guest from here on; see `twinmetal engine`."),
  tier: choice(
    "tier",
    ["auto", "interp", "jit"],
    "auto (default): interpret, and translate what is hot. interp, jit: one of the two always, to compare.",
  ),
  translationCache: TRANSLATION_CACHE,
  timeout: option("timeout", "TIME", "End the VM after so many seconds (or 5m, 1h), status 124.", parseTimeout),
  policy: POLICY,
  name: option("name", "NAME", "A name for the VM: for messages, and with -d for all commands."),
  detach: flag(
    "detach",
    "The VM stays: it goes on in the background in a process of its own, is kept under its name, and answers to start, stop, ls and the others.",
    "d",
  ),
  json: flag("json", "With -d: print what `twinmetal ls --json` says of the VM, as one JSON object."),
  record: option("record", "FILE", "Record everything from here on, for `twinmetal replay --state FILE`."),
  gdb: GDB,
  save: option("save", "FILE", "When you leave with Ctrl-], save the VM again; may be the same file."),
  migrationSocket: option(
    "migration-socket",
    "PATH",
    "A socket by which `twinmetal migrate` can move this VM elsewhere, `screenshot` look at its screen, and `type` use its keyboard.",
  ),
  sandbox: SANDBOX,
  stats: flag("stats", "Print the VM's counters at the end, on standard error."),
};

export const RESTORE = defineCommand({
  name: "restore",
  summary: "let a saved VM go on, on this terminal or in the background",
  usage: "FILE [options]",
  text: [
    "FILE is what `twinmetal run --save FILE`, `twinmetal save NAME FILE` or the library's vm.save() has written; it is only read. Memory size, clock and devices are those of the saved VM. Ctrl-] leaves and ends the VM.",
    "With -d the VM stays: FILE is copied into its folder, and it goes on from there once. When it starts anew later, it is made of what FILE says and of the options given here, which are kept in vm.json.",
    "Status: 0 when the guest turns off, 124 time-out, 125 Twinmetal failed or the guest crashed, 128+n ended by signal n, 2 bad usage.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal run --save work.vm", "work in it, then leave with Ctrl-]"],
    ["twinmetal restore work.vm --gdb unix:gdb.sock,wait", "look at it with GDB: target remote gdb.sock"],
    ["twinmetal restore work.vm --save work.vm", "go on where you were, and save again on leaving"],
    ["twinmetal restore work.vm -d --name work", "a VM that stays; then: twinmetal exec work -- uname -a"],
  ],
  execute: async (io, line) => {
    const {
      values: given,
      operands: [path, extra],
      rest,
    } = line;
    if (path === undefined)
      throw new UsageError("which file? Give the one that a VM was saved to: twinmetal restore FILE.");
    if (extra !== undefined || rest !== undefined)
      throw new UsageError(`"${extra ?? "--"}" is one word too many: restore takes one FILE.`);
    const spec = io.library.readStateSpec(path);
    const { line: made, policy } = await underPolicy(io, asRun(line.texts, spec, given), given.detach === true);
    if (given.detach) return await goOnDetached(io, given, path, spec, made);
    if (given.json) throw new UsageError("--json is for a VM that stays: give -d, too.");
    // What a policy has filled in.
    const { disk, net, allow, limit } = made.values;
    const values = { ...given, disk, net, allow, limit };
    const { kernel, initrd, firmware, name, record, engine, tier, gdb } = values;
    const cache = translationCache(values.translationCache, io.env);
    const serial = values.serial ?? { kind: "stdio" };
    if (values.save !== undefined && serial.kind !== "stdio") {
      throw new UsageError("--save saves when you leave the console, so it needs the console on this terminal.");
    }
    const question: EngineQuestion = {
      wish: engine,
      clock: "wall",
      cpuFeatures: [],
      isRecorded: record !== undefined,
      hasTier: tier !== undefined && tier !== "auto",
    };
    return await hostVm(io, {
      admit: async () => {
        const wanted = promiseOf(made.values);
        const cards = switchCardsOfSpec(spec, networksOf(values));
        await io.library.admitVm({ name: name ?? "without a name", wanted, cards, rules: policy.admission });
      },
      create: (signal, onProgress) =>
        io.library.restoreVm(path, {
          kernel,
          initrd,
          firmware,
          disks: values.disk,
          networks: networksOf(values),
          vsockPath: values.vsockPath,
          shares: values.share,
          limits: limitsOf(values),
          name,
          engine,
          tier,
          translationCache: cache,
          record,
          ...(gdb && { startsPaused: gdb.isWaiting, smp: "turns" }),
          signal,
          onProgress,
        }),
      command: undefined,
      serial,
      greeting: (vm) =>
        `VM ${vm.name}, restored from ${path}. Ctrl-] ${values.save ? `saves it to ${values.save} and leaves` : "leaves and ends it"}.`,
      notice: (vm) => engineNotice(io, vm, values),
      hasAgent: kernel === undefined,
      endsWithInput: false,
      endsWithPanic: true,
      timeoutMs: values.timeout,
      savePath: values.save,
      disks: async () => values.disk ?? [],
      networks: networksOf(values),
      policy,
      shares: values.share,
      controlSockets: values.migrationSocket === undefined ? [] : [values.migrationSocket],
      gdb,
      sandbox: sandboxPlan(values, question, async (signal) => {
        const image = kernel === undefined ? (await knownImage(io, signal))?.directory : undefined;
        const roms = firmware === undefined ? await io.library.knownFirmware(signal) : [firmware];
        const disks = await io.library.filesOfDisks(values.disk ?? []);
        const shares = io.library.filesOfShares(values.share ?? []);
        return vmConfinement(
          {
            read: [path, kernel, initrd, image, ...roms, made.values.policyPath],
            disks,
            sockets: [
              ...networkSockets(networksOf(values), io.library.switchSocket),
              ...(values.vsockPath === undefined ? [] : [values.vsockPath]),
            ],
            debuggers: gdb?.address.kind === "unix" ? [gdb.address.path] : [],
            shares,
            cache,
            record,
            pcap: values.pcap,
            save: values.save,
            serial,
            engine,
          },
          undefined,
        );
      }),
      wantsStatistics: values.stats === true,
    });
  },
});

type Given = OptionValues<typeof OPTIONS>;

/** The VM as `twinmetal run` would be told it. */
function asRun(texts: ParsedLine<typeof OPTIONS>["texts"], spec: MachineSpec, given: Given): RunLine {
  const { "vsock-path": _path, save: _save, ...own } = texts;
  return parseLine(RUN_OPTIONS, specWords({ options: { ...stateOptions(spec, given), ...own } }));
}

async function goOnDetached(io: Io, given: Given, path: string, spec: MachineSpec, line: RunLine): Promise<number> {
  checkStartsAnew(spec, given, spec.boot && given.kernel === undefined ? await tinyKernelHash(io) : undefined);
  if (given.save !== undefined)
    throw new UsageError("--save is for a VM on this terminal: one that stays is saved by twinmetal save NAME.");
  checkSandbox(line.values);
  return await runDetached(io, line, (folder) => copyState(path, folder.saved));
}

/** Where a reboot finds its kernel again, if it was the image's. */
async function knownImage(io: Io, signal?: AbortSignal): Promise<TinyImage | undefined> {
  try {
    return await io.library.ensureTinyImage({ signal });
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}

async function tinyKernelHash(io: Io): Promise<string | undefined> {
  const image = await knownImage(io);
  return (
    image &&
    createHash("sha256")
      .update(await readFile(image.kernelPath))
      .digest("hex")
  );
}
