/** `twinmetal run`: a VM on this terminal, or one command in it. No daemon, no root; the VM is gone afterwards. */
import { CPU_LIMITS, featuresOfKind, MAX_DISK_BAYS, MEMORY_LIMITS, WATCHDOG_ACTIONS } from "@twinmetal/core";
import { ensureAutostart } from "../autostart.ts";
import { BOOT } from "../boot-choice.ts";
import { bootPlan, chooseImage, type PrepareBoot, type RunValues, withImage } from "../boot-plan.ts";
import { CLOUD_INIT_OPTIONS } from "../cloud-init-choice.ts";
import { defineCommand, type Io } from "../command.ts";
import { parseCpu } from "../cpu-choice.ts";
import { CDROM, DISK, FLOPPY } from "../disk-choice.ts";
import { checkEndActions, END_OPTIONS } from "../end-actions.ts";
import { engineNotice } from "../engine-notice.ts";
import { RUN_FOREIGN } from "../foreign-words.ts";
import { GDB } from "../gdb-choice.ts";
import { type HostingPlan, hostVm } from "../hosting.ts";
import type { ImageChoice } from "../image-choice.ts";
import { type KeptPlace, keepVm } from "../kept-vm.ts";
import { LIMIT, limitsOf } from "../limit-choice.ts";
import { LINK_OPTIONS, targetAddress } from "../migration-options.ts";
import { namedVms, whileStarting } from "../named-vms.ts";
import { ALLOW, FORWARD, NET, NET_LOG, networkSockets, networksOf, PCAP } from "../network-choice.ts";
import { choice, flag, option, optionalChoice } from "../options.ts";
import { POLICY, type RunLine, underPolicy } from "../policy-choice.ts";
import {
  formatSize,
  parseBays,
  parseCpusChoice,
  parseEpoch,
  parseMemoryChoice,
  parseSeed,
  parseTimeout,
} from "../quantities.ts";
import { checkSandbox, SANDBOX, sandboxPlan, vmConfinement } from "../sandbox.ts";
import { parseSerialTarget, type SerialTarget } from "../serial-target.ts";
import { SHARE } from "../share-choice.ts";
import { TRANSLATION_CACHE, translationCache } from "../translation-cache.ts";
import { UsageError } from "../usage-error.ts";
import {
  type ConfinePlan,
  type EngineQuestion,
  type Policy,
  switchCards,
  switchCardsOfSpec,
  type Vm,
  type VmFolder,
  type VmProgress,
  type VmPromise,
} from "../vm-library.ts";
import { VSOCK } from "../vsock-choice.ts";
import { incomingPlan } from "./incoming.ts";

const DEFAULT_MEMORY_BYTES = 512 * 2 ** 20;

export const RUN_OPTIONS = {
  kernel: option(
    "kernel",
    "FILE",
    "Boot this kernel instead of an image: a Linux bzImage, an ELF file with a PVH entry, or a Multiboot kernel.",
  ),
  initrd: option("initrd", "FILE", "The initial RAM disk for --kernel."),
  module: option(
    "module",
    "FILE[ WORDS][,...]",
    "Modules for a Multiboot or PVH kernel, each with its command line, before --initrd: 'vmlinuz console=hvc0,more.img'.",
    parseModules,
  ),
  append: option("append", "STR", "More words for the kernel's command line (default: console=ttyS0 quiet)."),
  firmware: option(
    "firmware",
    "bios|uefi|FILE",
    "Start from firmware: bios (SeaBIOS) or uefi (OVMF) from Debian's packages, or a ROM image of your own. With --name, UEFI's settings are kept.",
  ),
  disk: DISK,
  cdrom: CDROM,
  diskBays: option(
    "disk-bays",
    "N",
    `Room for so many disks more while the VM runs, 1 to ${MAX_DISK_BAYS}: \`twinmetal insert\` and \`eject\`. They follow those of --disk and --cdrom.`,
    parseBays,
  ),
  floppy: FLOPPY,
  ...CLOUD_INIT_OPTIONS,
  net: NET,
  netBays: option(
    "net-bays",
    "N",
    "Room for so many network cards more while the VM runs, 1 to 8: `twinmetal insert NAME net1 switch=LAN` and `eject`. They follow those of --net.",
    parseBays,
  ),
  allow: ALLOW,
  forward: FORWARD,
  netLog: NET_LOG,
  pcap: PCAP,
  share: SHARE,
  vga: choice(
    "vga",
    ["std", "none"],
    "std: a display adapter and a keyboard, for `twinmetal screenshot` and `type`. Default: std with --firmware, else none.",
  ),
  watchdog: choice(
    "watchdog",
    WATCHDOG_ACTIONS,
    "A watchdog timer (Linux: i6300esb), and what happens when the guest stops to serve it; none: it is only told.",
  ),
  display: choice(
    "display",
    ["none"],
    "none (default): the screen is shown nowhere; `twinmetal screenshot` looks at it.",
  ),
  boot: BOOT,
  memory: option(
    "memory",
    "SIZE[,max=SIZE]",
    `Memory of the VM, ${formatSize(MEMORY_LIMITS.minBytes)} to ${formatSize(MEMORY_LIMITS.maxBytes)} (default 512M); and how much it may get while it runs, by \`twinmetal resize\`: a multiple of 128M more (it needs the driver virtio_mem).`,
    (text) => parseMemoryChoice(text, MEMORY_LIMITS),
    "m",
  ),
  limit: LIMIT,
  vsock: VSOCK,
  balloon: optionalChoice(
    "balloon",
    "manual",
    ["manual", "auto"],
    "The guest can be asked to give memory back while it runs: `twinmetal balloon` (it needs the driver virtio_balloon). auto: what it has idle goes to a host that is short of memory, and back, by itself.",
  ),
  cpu: option(
    "cpu",
    "MODEL[,+NAME][,-NAME]",
    `The CPU model, portable-v1, with more features (${featuresOfKind("opt-in").join(", ")}) or fewer. See docs/guide/run.md.`,
    parseCpu,
  ),
  cpus: option(
    "cpus",
    "N[,max=N]",
    `Virtual processors, ${CPU_LIMITS.min} (default) to ${CPU_LIMITS.max}; and how many it may get while it runs, by \`twinmetal set\`. --smp says how they run.`,
    parseCpusChoice,
  ),
  smp: choice(
    "smp",
    ["turns", "parallel"],
    "How several vCPUs run. turns: in one thread, one after the other. parallel: each in a thread of its own (x64 hosts; no recording, no virtual clock, no --gdb). Default: parallel on the kvm engine, turns on jit and with --gdb.",
  ),
  serial: option(
    "serial",
    "WHERE",
    "The guest's serial console: stdio (default), null, file=PATH, or socket=PATH (a Unix socket). With CMD: null (default), file or socket.",
    parseSerialTarget,
  ),
  tier: choice(
    "tier",
    ["auto", "interp", "jit"],
    "auto (default): interpret, and translate what is hot. interp, jit: one of the two always, to compare.",
  ),
  translationCache: TRANSLATION_CACHE,
  ...END_OPTIONS,
  policy: POLICY,
  timeout: option("timeout", "TIME", "End the VM after so many seconds (or 5m, 1h), status 124.", parseTimeout),
  name: option("name", "NAME", "A name for the VM: for messages, and with -d for all commands.", parseName),
  detach: flag(
    "detach",
    "The VM stays: it runs in the background in a process of its own, is kept under its name, and answers to start, stop, ls and the others. See docs/guide/persistent-vm.md.",
    "d",
  ),
  engine: choice("engine", ["auto", "jit", "kvm"], "What executes the guest; see `twinmetal engine`."),
  clock: choice(
    "clock",
    ["wall", "virtual"],
    "wall (default): the guest's time follows the host's. virtual: it is counted in instructions alone. Input and commands still arrive when the host brings them: --record repeats those, too.",
  ),
  seed: option("seed", "HEX", "Where the guest's random numbers come from (default: the host's).", parseSeed),
  epoch: option(
    "epoch",
    "TIME",
    "The guest's calendar at power-on, in seconds since 1970 or as 2024-02-29 (default: now).",
    parseEpoch,
  ),
  record: option("record", "FILE", "Record everything that enters the VM, for `twinmetal replay FILE`."),
  save: option("save", "FILE", "When you leave with Ctrl-], save the VM first, for `twinmetal restore FILE`."),
  migrationSocket: option(
    "migration-socket",
    "PATH",
    "A socket by which `twinmetal migrate` can move this VM elsewhere, `screenshot` look at its screen, and `type` use its keyboard. A VM with -d answers to its name, too.",
  ),
  gdb: GDB,
  incoming: option(
    "incoming",
    "TARGET",
    "Wait for a VM that `twinmetal migrate` moves here: unix:PATH, or tcp:HOST:PORT with TLS.",
    targetAddress,
  ),
  ...LINK_OPTIONS,
  mirror: option("mirror", "URL", "The Debian mirror that the image's packages come from, on first use."),
  suite: option("suite", "NAME", "The Debian release of the image (default bookworm)."),
  sandbox: SANDBOX,
  json: flag("json", "With -d: print what `twinmetal ls --json` says of the VM, as one JSON object."),
  stats: flag("stats", "Print the VM's counters at the end, on standard error."),
};

export const RUN = defineCommand({
  name: "run",
  summary: "run a VM on this terminal, or a command in one",
  usage: "[IMAGE] [options] [-- CMD ARG...]",
  text: [
    "IMAGE is tiny (default): Debian's kernel, busybox and a small agent, put together from Debian packages on first use and kept in the cache. Or it is debian: a full Debian 12 with systemd, cloud-init, an ssh server and QEMU's agent, made of packages in the same way, which takes minutes once. Or it is a disk's path, like debian.qcow2: firmware starts what is on it. Both have 1G of memory and --net user; what the guest writes goes elsewhere, and is thrown away at the end; -d keeps it with the VM. --disk is written to itself. Or it is the path of a container image, an OCI layout or what docker save wrote: its program runs in tiny's kernel, with the image as its root.",
    "Without CMD the guest's console is on this terminal: Ctrl-] leaves and ends the VM, every other key goes to the guest. With CMD, only that command's input, output and errors are.",
    "Status: CMD's own; without CMD 0 when the guest turns off. 124 time-out, 125 Twinmetal failed or the guest crashed, 126 CMD cannot be run, 127 not found, 128+n ended by signal n, 2 bad usage.",
  ],
  options: RUN_OPTIONS,
  hints: { foreign: RUN_FOREIGN, endsWithCommand: true },
  examples: [
    ["twinmetal run", "a shell in a small Linux; type poweroff, or press Ctrl-]"],
    ["twinmetal run -m 1G --cpus 2 -- sh -c 'free -m; nproc'", "one command in a fresh VM"],
    ["echo hello | twinmetal run -- sha256sum", "input, output and status are the command's"],
    ["twinmetal run --kernel bzImage --initrd root.cpio.gz --append 'panic=-1'", "your own kernel"],
    ["twinmetal run --disk data.img --disk base.qcow2,ephemeral", "with two disks, one of which stays as it is"],
    [
      "twinmetal run debian.qcow2 --user ada --ssh-key ~/.ssh/id_ed25519.pub --forward 2222:22",
      "a cloud image; in another terminal: ssh -p 2222 ada@127.0.0.1",
    ],
    [
      "twinmetal run -d --name web debian --user ada --ssh-key ~/.ssh/id_ed25519.pub --forward 2222:22",
      "a full Debian that stays, with a disk of its own",
    ],
    ["twinmetal run alpine.tar -- cat /etc/os-release", "a container image that docker save has written"],
    ["twinmetal run --net socket=/tmp/wire", "a network card; in another terminal the same, for the other end"],
    [
      "twinmetal run -m 2G --balloon --migration-socket vm.sock",
      "memory that can be taken back: twinmetal balloon vm.sock 1G",
    ],
    ["twinmetal run -d --name box -m 2G --balloon=auto", "memory that the host has while the guest does not need it"],
    ["twinmetal run -d --name box --cpus 1,max=4", "processors that can come: twinmetal set box cpus=3"],
    ["twinmetal run -m 512M,max=2G --migration-socket vm.sock", "memory that can grow: twinmetal resize vm.sock 1536M"],
    ["twinmetal run -v src,ro -v out:results -- cp -r /share/src /share/results", "with folders of this host"],
    ["twinmetal run -d --name web --net user -p 8080:80", "its port 80 is port 8080 of this host"],
    ["twinmetal run --firmware bios --cdrom memtest86+.iso", "starts from a CD"],
    ["twinmetal run --firmware uefi --disk new.qcow2 --cdrom install.iso --boot cdrom,disk", "the CD first"],
    ["twinmetal run --firmware uefi --name box", "UEFI, whose settings are kept for the next run of box"],
    ["twinmetal run -d --name box -m 1G --disk box.qcow2", "a VM that stays; then: twinmetal stop box, start box"],
    [
      "twinmetal run -d --name web --disk web.qcow2 --on-crash restart --ttl 7d",
      "starts again when it crashes; its time is over in a week",
    ],
    ["twinmetal run --policy team.json", "with what a policy says; before: twinmetal policy check --policy team.json"],
    ["twinmetal run --gdb unix:gdb.sock,wait", "for GDB: target remote gdb.sock"],
    ["twinmetal run --incoming unix:there.sock", "waits for a VM that is moved here"],
    ["twinmetal run --clock virtual --seed 00 --epoch 0 --record run.rec", "a run that can be replayed to the bit"],
  ],
  execute: async (io, given) => {
    const { detach = false, json } = given.values;
    const { line, policy } = await underPolicy(io, given, detach);
    checkSandbox(line.values);
    if (detach) return await runDetached(io, line);
    if (json) throw new UsageError("--json is for a VM that stays: give -d, too.");
    const { incoming } = line.values;
    return await hostVm(
      io,
      incoming === undefined ? runPlan(io, line, undefined, policy) : incomingPlan(io, line, policy),
    );
  },
});

/** It is made and started. `fill` as for `keepVm`. */
export async function runDetached(io: Io, line: RunLine, fill?: (folder: VmFolder) => Promise<void>): Promise<number> {
  const name = await keepVm(io, line, (kept) => runPlan(io, line, kept), fill);
  if (line.values.autostart) await ensureAutostart(io);
  const seen = await whileStarting(io, (options) => namedVms(io).start(name, options));
  io.stdout.write(line.values.json ? `${JSON.stringify(seen)}\n` : `${name}\n`);
  return 0;
}

/** What a line of options means, for a VM that is kept at `kept`. Throws UsageError. */
export function runPlan(
  io: Io,
  { values: given, operands, rest }: Omit<RunLine, "texts">,
  kept?: KeptPlace,
  policy: Policy = {},
): HostingPlan {
  const image = chooseImage(given, operands);
  const values = withImage(given, image);
  const isContainer = image?.kind === "archive";
  const command = rest ?? (isContainer ? [] : undefined);
  if (rest !== undefined && !rest[0]) throw new UsageError("there is no command after --.");
  const serial = kept === undefined ? chooseSerial(values.serial, command) : keptSerial(values.serial, kept);
  checkTogether(values, image, serial, command);
  checkEndActions(values, kept !== undefined);
  if (kept !== undefined) checkKept(values, command);
  const isTiny = image?.kind === "tiny" || isContainer;
  const endsWithInput =
    kept === undefined && isTiny && command === undefined && serial.kind === "stdio" && !io.stdin.isTTY;
  const append = commandLine(io, values, isTiny, command, endsWithInput, kept?.folder.name ?? values.name);
  const prepare = bootPlan(io, values, { image, append, command: rest, folder: kept?.folder });
  const name = kept?.folder.name ?? values.name ?? "without a name";
  return {
    admit: async (saved) => {
      const [networks, identity] = [networksOf(values), kept?.folder.name ?? values.name ?? values.seed];
      const cards = saved ? switchCardsOfSpec(saved, networks) : switchCards(networks, identity);
      await io.library.admitVm({ name, wanted: promiseOf(values), cards, rules: policy.admission });
    },
    create: (signal, onProgress) => create(io, values, prepare, signal, onProgress, kept),
    command: command && (async (signal) => (await prepare(signal, () => {})).command ?? command),
    serial,
    greeting: (vm) => greeting(vm, values, image),
    notice: (vm) => engineNotice(io, vm, values),
    hasAgent: isTiny,
    endsWithInput,
    endsWithPanic: !/\bpanic=/.test(values.append ?? ""),
    timeoutMs: values.timeout,
    savePath: values.save,
    disks: async (signal) => (await prepare(signal, () => {})).disks,
    networks: networksOf(values),
    policy,
    shares: values.share,
    controlSockets: [kept?.folder.socket, values.migrationSocket].filter((path) => path !== undefined),
    gdb: values.gdb,
    sandbox: sandboxPlan(values, engineQuestion(values), (signal, onProgress) =>
      confinePlan(io, values, prepare, serial, signal, onProgress, kept?.folder),
    ),
    wantsStatistics: values.stats === true,
  };
}

/** What the host promises the VM. */
export function promiseOf({ memory, cpus }: RunValues): VmPromise {
  return {
    memoryBytes: memory?.maxBytes ?? memory?.bytes ?? DEFAULT_MEMORY_BYTES,
    cpus: cpus?.max ?? cpus?.count ?? 1,
  };
}

function chooseSerial(given: SerialTarget | undefined, command: readonly string[] | undefined): SerialTarget {
  if (command === undefined) return given ?? { kind: "stdio" };
  if (given?.kind === "stdio") {
    throw new UsageError(
      "--serial stdio and a command exclude each other: standard output is the command's. Give --serial file=PATH.",
    );
  }
  return given ?? { kind: "null" };
}

function keptSerial(given: SerialTarget | undefined, kept: KeptPlace): SerialTarget {
  return given === undefined || given.kind === "stdio" ? kept.console : given;
}

function checkKept(values: RunValues, command: readonly string[] | undefined): void {
  if (command !== undefined)
    throw new UsageError("a VM that stays and a command exclude each other: leave -d out, or the command.");
  const other = (["save", "incoming", "stats"] as const).find((option) => values[option] !== undefined);
  if (other !== undefined)
    throw new UsageError(`--${other} is for a VM on this terminal, and not for one that stays: leave it out.`);
}

function checkTogether(
  values: RunValues,
  image: ImageChoice | undefined,
  serial: SerialTarget,
  command: readonly string[] | undefined,
): void {
  if (command !== undefined && image?.kind === "disk") {
    throw new UsageError(
      `a command needs Twinmetal's agent in the guest, which ${image.disk.path} is not known to have: leave one out.`,
    );
  }
  if (command !== undefined && values.firmware !== undefined) {
    throw new UsageError(
      "a command needs Twinmetal's agent in the guest, which --firmware cannot know of: leave one out.",
    );
  }
  if (command !== undefined && values.kernel !== undefined && values.initrd === undefined) {
    throw new UsageError(
      "a command needs Twinmetal's agent in the guest: run it in an image, or give --initrd with the agent in it.",
    );
  }
  if (values.save !== undefined && (command !== undefined || serial.kind !== "stdio")) {
    throw new UsageError("--save saves when you leave the console, so it needs the console on this terminal.");
  }
  if (values.gdb?.isWaiting && command !== undefined)
    throw new UsageError("--gdb WHERE,wait and a command exclude each other: leave ,wait out, or the command.");
  if (values.migrationSocket !== undefined && command !== undefined) {
    throw new UsageError(
      "--migration-socket and a command exclude each other: the command's input and output are here.",
    );
  }
  const link = Object.keys(LINK_OPTIONS).find((key) => values[key as keyof RunValues] !== undefined);
  if (link !== undefined) throw new UsageError("TLS options and --insecure are for --incoming.");
  if ((image === undefined || image.kind === "disk") && (values.mirror ?? values.suite) !== undefined) {
    throw new UsageError("--mirror and --suite are for the images tiny and debian; leave them out.");
  }
}

/** What is added to the kernel's command line, the user's words last. */
function commandLine(
  io: Io,
  values: RunValues,
  isTiny: boolean,
  command: readonly string[] | undefined,
  endsWithInput: boolean,
  name: string | undefined,
): string {
  const words: string[] = [];
  if (isTiny) {
    if (name !== undefined) words.push(`twinmetal.hostname=${name}`);
    const { TERM = "" } = io.env;
    if (command !== undefined) words.push("twinmetal.shell=off");
    else if (endsWithInput) words.push("twinmetal.shell=once");
    if (command === undefined && /^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$/.test(TERM)) words.push(`twinmetal.term=${TERM}`);
  }
  if (values.append !== undefined) words.push(values.append);
  return words.join(" ");
}

async function create(
  io: Io,
  values: RunValues,
  prepare: PrepareBoot,
  signal: AbortSignal,
  onProgress: (progress: VmProgress) => void,
  kept: KeptPlace | undefined,
): Promise<Vm> {
  const { vga, watchdog, memory, cpu, cpus, smp, engine, tier, name, clock, seed, epoch, record } = values;
  const { boot, disks } = await prepare(signal, onProgress);
  return await io.library.createVm({
    ...boot,
    memoryBytes: memory?.bytes ?? DEFAULT_MEMORY_BYTES,
    maxMemoryBytes: memory?.maxBytes,
    startsPaused: values.gdb?.isWaiting,
    disks,
    diskBays: values.diskBays,
    networks: networksOf(values),
    networkBays: values.netBays,
    hasBalloon: values.balloon !== undefined,
    isBalloonAutomatic: values.balloon === "auto",
    limits: limitsOf(values),
    vsock: values.vsock,
    shares: values.share,
    cpuFeatures: cpu,
    vga,
    watchdog,
    cpus: cpus?.count,
    maxCpus: cpus?.max,
    smp: smp ?? (values.gdb ? "turns" : undefined),
    engine,
    tier,
    translationCache: translationCache(values.translationCache, io.env),
    name: kept?.folder.name ?? name,
    ...(kept && { variables: kept.folder.variables }),
    clock,
    seed,
    epochSeconds: epoch,
    record,
    onReboot: values.onReboot,
    signal,
    onProgress,
  });
}

function engineQuestion({ engine, clock, cpu, record, tier }: RunValues): EngineQuestion {
  return {
    wish: engine,
    clock: clock ?? "wall",
    cpuFeatures: cpu ?? [],
    isRecorded: record !== undefined,
    hasTier: tier !== undefined && tier !== "auto",
  };
}

/** What the VM's process opens: the image is made before, for that takes the network and other programs. */
async function confinePlan(
  io: Io,
  values: RunValues,
  prepare: PrepareBoot,
  serial: SerialTarget,
  signal: AbortSignal,
  onProgress: (progress: VmProgress) => void,
  folder: VmFolder | undefined,
): Promise<ConfinePlan> {
  const { record, save, engine, memory } = values;
  const { boot, disks: given, files } = await prepare(signal, onProgress);
  const { firmware } = boot;
  const cache = translationCache(values.translationCache, io.env);
  const variables = firmware === "uefi" ? variablesFile(io, values, folder) : undefined;
  const roms = firmware === undefined ? [] : await firmwareFiles(io, firmware, values, signal, onProgress, variables);
  const disks = await io.library.filesOfDisks(given);
  const bridges = values.vsock?.socketPath === undefined ? [] : [values.vsock.socketPath];
  const sockets = [...networkSockets(networksOf(values), io.library.switchSocket), ...bridges];
  const debuggers = values.gdb?.address.kind === "unix" ? [values.gdb.address.path] : [];
  const { pcap } = values;
  const shares = io.library.filesOfShares(values.share ?? []);
  const read = [...files, ...roms, values.policyPath];
  const used = {
    read,
    variables,
    disks,
    shares,
    sockets,
    debuggers,
    cache,
    record,
    pcap,
    save,
    serial,
    engine,
    folder,
  };
  return vmConfinement(used, memory?.maxBytes ?? memory?.bytes ?? DEFAULT_MEMORY_BYTES);
}

function variablesFile(io: Io, { name }: RunValues, folder: VmFolder | undefined): string | undefined {
  return folder?.variables ?? (name === undefined ? undefined : io.library.variablesPath(name));
}

/** What the VM's process reads of its firmware; what it keeps is made, as it cannot be later. */
async function firmwareFiles(
  io: Io,
  firmware: string,
  values: RunValues,
  signal: AbortSignal,
  onProgress: (progress: VmProgress) => void,
  kept: string | undefined,
): Promise<readonly (string | undefined)[]> {
  if (firmware !== "bios" && firmware !== "uefi") return [firmware];
  const { code, variables, vga } = await io.library.ensureFirmware(firmware, { signal, onProgress });
  if (variables !== undefined && kept !== undefined) await io.library.keepVariables(kept, variables);
  if (firmware !== "bios" || networksOf(values).length === 0) return [code, variables, vga];
  // Without them the VM starts from something else, or says why it cannot be made.
  const roms = await io.library.ensureNetworkRoms({ signal, onProgress }).catch(() => undefined);
  return [code, variables, vga, roms?.["virtio-net"], roms?.e1000];
}

function greeting(vm: Vm, values: RunValues, image: ImageChoice | undefined): string {
  const leaving = values.save === undefined ? "leaves and ends it" : `saves it to ${values.save} and leaves`;
  const disk = image?.kind === "disk" ? image.disk.path : image?.kind === "debian" ? "its disk" : undefined;
  const kept = disk === undefined ? "" : ` What it writes to ${disk} is thrown away at the end.`;
  return `VM ${vm.name}, ${formatSize(values.memory?.bytes ?? DEFAULT_MEMORY_BYTES)}, engine ${vm.engine}.${kept} Ctrl-] ${leaving}.`;
}

function parseModules(text: string): { readonly path: string; readonly commandLine: string }[] {
  return text.split(",").map((part) => {
    const [, path = "", commandLine = ""] = /^(\S*)\s*(.*)$/s.exec(part.trim()) ?? [];
    if (path === "")
      throw new UsageError(`"${text}" names no file. Give modules like 'vmlinuz console=hvc0,more.img'.`);
    return { path, commandLine };
  });
}

function parseName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text)) return text;
  throw new UsageError(
    `"${text}" is not a name. Give up to 63 letters, digits, ".", "_" and "-", a letter or digit first.`,
  );
}
