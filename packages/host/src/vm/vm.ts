/**
 * The VM object: what a library user holds. The machine runs in a worker thread of its own (vm-worker.ts); this side
 * stays responsive, whatever the guest does.
 */
import type {
  BalloonStatistics,
  BootClass,
  DebugRequest,
  DebugStop,
  KeyboardLayout,
  MigrationObstacle,
  MigrationResult,
  RebootAction,
  ScreenImage,
  Tier,
  VcpuState,
  WatchdogAction,
} from "@twinmetal/core";
import type { AgentCall, GuestAgent } from "../agent/index.ts";
import type { VmDisks } from "../disk/disk-limits.ts";
import type { DiskOptions, DiskProblem } from "../disk/disk-protocol.ts";
import type { MigrateVmOptions, MigrationChoice } from "../migration/outgoing.ts";
import type { NetworkOptions, NetworkProblem } from "../network/network-protocol.ts";
import type { VmNetwork } from "../network/vm-network.ts";
import type { HardLimits, VmLimits } from "../resources/vm-limits.ts";
import type { VmResources } from "../resources/vm-resources.ts";
import type { ShareOptions } from "../share/share-protocol.ts";
import type { VmSockets } from "../vsock/vm-sockets.ts";
import type { EngineWish } from "./engine-choice.ts";
import type { EngineSwitchOptions, EngineSwitchResult } from "./engine-switch.ts";
import type { VmRegisters } from "./worker-protocol.ts";

export type VmState = "created" | "running" | "paused" | "off" | "crashed" | "migrated";

/**
 * Translated code is kept for later runs, which start faster: in `directory`, by default the user's cache directory. What
 * one guest has run, another of the same directory finds translated, and may notice that by its speed: give guests that
 * are to know nothing of each other different ones. "off" (default): nothing is read or kept.
 */
export type TranslationCacheChoice = { readonly directory?: string } | "off";

/**
 * A file for a state, open for writing, of a process that opens none any more. It is empty after a save that failed, and begins
 * with zeros while one is under way.
 */
export interface OpenStateFile {
  readonly descriptor: number;
  /** For messages. */
  readonly path: string;
}

export interface VmOptions {
  /** "tiny" (default), or nothing when `kernel` is given. */
  readonly image?: string;
  /**
   * Path of a kernel, and of an initrd, instead of the image's: a bzImage, an ELF file with a PVH entry point, or a Multiboot
   * kernel, whose last module the initrd then is.
   */
  readonly kernel?: string;
  readonly initrd?: string;
  /**
   * Starts from firmware instead of a kernel: "bios" (SeaBIOS) and "uefi" (OVMF) come from Debian's packages, anything else is
   * the path of a ROM image. UEFI's variables are kept from one run to the next where the VM has a name.
   */
  readonly firmware?: string;
  /** The file in which UEFI's variables are kept, made if it is not there. Default: one for the VM's name. */
  readonly variables?: string;
  /** Of a Multiboot or PVH kernel, in front of the initrd. A state with modules is restored without them: it cannot be reset. */
  readonly modules?: readonly { readonly path: string; readonly commandLine: string }[];
  /** `start` leaves it paused in front of its first instruction, for a debugger. Default: false. */
  readonly startsPaused?: boolean;
  /** Linux says little while it starts. Default: false. */
  readonly isQuiet?: boolean;
  /** Firmware waits a few seconds for a key that opens its boot menu: Escape for "bios". Default: false. */
  readonly hasBootMenu?: boolean;
  /**
   * What firmware tries first, in this order: ["cdrom", "disk"]. Disks of one class come in the order of `disks`; those with a
   * `bootIndex` come before everything. Default: all in the order of `disks`.
   */
  readonly bootOrder?: readonly BootClass[];
  /** Added to the command line that a Linux kernel gets; all of that of another kernel. */
  readonly append?: string;
  /** Default 512 MiB; 16 MiB to 3072 MiB. */
  readonly memoryBytes?: number;
  /** How much it may get while it runs (`memory.resize`): so much, or a multiple of 128 MiB more. Default: no more. */
  readonly maxMemoryBytes?: number;
  /** Virtual processors, 1 (default) to 8. */
  readonly cpus?: number;
  /** How many there may be while it runs (`vm.cpus.set`): up to 8. Default: no more than at first. */
  readonly maxCpus?: number;
  /**
   * How several vCPUs run. "turns" (default on jit): one after the other in one thread, which can be recorded and has exact
   * virtual clocks. "parallel" (default on kvm): each in a thread of its own; on x64 hosts, with the wall clock, unrecorded,
   * without a debugger.
   */
  readonly smp?: "turns" | "parallel";
  /** Features beyond the CPU model's, such as "aes", and with a "-" in front those it shall be without. Default: none. */
  readonly cpuFeatures?: readonly string[];
  /** In the order in which the guest finds them, by virtio: /dev/vda, /dev/vdb in Linux. */
  readonly disks?: readonly DiskOptions[];
  /** Room for so many disks more while it runs (`insert`, `eject`), 0 to 8: they follow those of `disks`. Default 0. */
  readonly diskBays?: number;
  /** Its network cards, in the order in which the guest finds them: eth0, eth1. Default: none. */
  readonly networks?: readonly NetworkOptions[];
  /** Room for so many network cards more while it runs (`network.plug`, `network.unplug`): they follow those of `networks`. Default 0. */
  readonly networkBays?: number;
  /** What it may use of its host; `resources.set` changes that while it runs. Default: no limits. */
  readonly limits?: VmLimits;
  /** The guest can be asked to do without a part of its memory: `memory.balloon`. Default: false. */
  readonly hasBalloon?: boolean;
  /** The balloon follows what host and guest need, from the start: `memory.balloon("auto")`. Default: false. */
  readonly isBalloonAutomatic?: boolean;
  /**
   * Streams between programs of guest and host (AF_VSOCK): `vm.sockets`. `cid`: the guest's address, 3 and up. `socketPath`: for
   * programs of the host, by Unix sockets: who connects there writes "CONNECT port"; the guest's connections to port P are at
   * PATH_P. Default: none.
   */
  readonly vsock?: VsockOptions;
  /** Folders of the host's that the guest can mount; the tiny image does, at /share/NAME. */
  readonly shares?: readonly ShareOptions[];
  readonly name?: string;
  /**
   * "std": a display adapter (VGA with the Bochs display interface, as QEMU's standard VGA) and a keyboard; "none": neither.
   * Default: "std" with `firmware`, else "none".
   */
  readonly vga?: "std" | "none";
  /**
   * A watchdog timer (Intel's 6300ESB; Linux: i6300esb), and what happens when the guest that has started it stops to serve
   * it. Whatever that is, it is told by the event "watchdog". Default: none is there.
   */
  readonly watchdog?: WatchdogAction;
  /** What a reboot by the guest does: "restart" (default), or "stop", which turns the VM off. `reset` starts it again always. */
  readonly onReboot?: RebootAction | undefined;
  /** "wall" (default): guest time follows the host's. "virtual": a function of the instructions alone; input still comes when it comes. */
  readonly clock?: "wall" | "virtual";
  /** Hexadecimal digits: the source of the guest's random numbers. Default: from the host. */
  readonly seed?: string;
  /** Seconds since 1970 at power-on. Default: now. */
  readonly epochSeconds?: number;
  /** Records everything that enters, to this file, for `replayVm`. */
  readonly record?: string;
  /** Guest time between two looks at the outside, in nanoseconds; default 200000, on kvm 20000000. With a virtual clock the guest cannot tell. */
  readonly sliceNs?: number;
  /**
   * "auto" (default): kvm, the processor itself, where this host's works and is quicker and nothing asked for counts
   * instructions; else jit. "kvm" is refused where it is not to be had, with the reason.
   */
  readonly engine?: EngineWish;
  /** How the jit engine runs guest code: "auto" (default) interprets, and translates what is hot; "interp" and "jit" do one of the two always. */
  readonly tier?: Tier;
  readonly translationCache?: TranslationCacheChoice;
  /** Ends the creation; the finished VM no longer listens to it. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: VmProgress) => void;
}

/** Something that takes longer than a moment. */
export interface VmProgress {
  readonly phase: string;
  readonly done: number;
  /** Undefined while the end is not known. */
  readonly total: number | undefined;
}

export interface RestoreOptions {
  /** As for a new VM. */
  readonly onReboot?: RebootAction | undefined;
  /** Of a VM that was started from firmware: its file, where it is none of Debian's. */
  readonly firmware?: string;
  /**
   * The kernel and initrd that the saved VM was started from, by path; only a reset of the guest needs them. Default: the
   * tiny image's, if it is those. Unknown ones are no error: the VM then turns off where it would reset.
   */
  readonly kernel?: string;
  readonly initrd?: string;
  /** The file in which its UEFI variables are kept from here on, where it is there. */
  readonly variables?: string;
  /**
   * The images of its disks, in the order in which they were given to the VM. They are not in the saved state. Undefined: of a
   * drive without a disc.
   */
  readonly disks?: readonly (DiskOptions | undefined)[];
  /** What its network cards lead to, in their order. Those for which nothing is said find their cable pulled out. */
  readonly networks?: readonly NetworkOptions[];
  /** Where programs of the host reach its sockets (`VmOptions.vsock`): their address is the state's. */
  readonly vsockPath?: string;
  /** Its shared folders, in their order. What the guest has open in them is opened again; what is not there any more is stale. */
  readonly shares?: readonly ShareOptions[];
  /** As for a new VM: they are the host's business, and in no saved state. */
  readonly limits?: VmLimits;
  readonly name?: string;
  /** Records from the restored state on. */
  readonly record?: string;
  /** `start` leaves it paused in front of its next instruction, for a debugger. Default: false. */
  readonly startsPaused?: boolean;
  /** As for a new VM. */
  readonly smp?: VmOptions["smp"];
  readonly sliceNs?: number;
  /** As for a new VM. A state of one engine goes on in the other. */
  readonly engine?: EngineWish;
  /** How the jit engine runs guest code: "auto" (default) interprets, and translates what is hot; "interp" and "jit" do one of the two always. */
  readonly tier?: Tier;
  readonly translationCache?: TranslationCacheChoice;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: VmProgress) => void;
}

export interface ReplayOptions {
  /** As for a restore. */
  readonly firmware?: string;
  /** As for a restore, but needed: a replay runs with the recorded files or not at all. */
  readonly kernel?: string;
  readonly initrd?: string;
  /** The saved state that the recording starts from, if it does not start with power-on. */
  readonly state?: string;
  readonly sliceNs?: number;
  /** What runs guest code: "auto" (default) interprets, and translates what is hot; "interp" and "jit" do one of the two always. */
  readonly tier?: Tier;
  readonly translationCache?: TranslationCacheChoice;
  readonly signal?: AbortSignal;
  readonly onSerial?: (bytes: Uint8Array) => void;
}

/** A replay that came to its recording's end, in the recorded state: anything else is an error. */
export interface ReplayResult {
  /** SHA-256 over the whole state at the end, as hexadecimal digits: equal to the recorded one. */
  readonly stateHash: string;
  /** Instructions from power-on to the end. */
  readonly retired: number;
}

export interface VmEvents {
  state: [state: VmState];
  /** An image could not do what the guest asked for. If it is blocked, the VM is paused and `resume` tries again. */
  disk: [problem: DiskProblem];
  /** A file of frames or connections ends here: it is as large as it may be, or the disk is full. The VM goes on. */
  network: [problem: NetworkProblem];
  /** The VM has stopped for what `debug` was asked for, and is paused. */
  debug: [stop: VmDebugStop];
  /** The guest has not served its watchdog in time, and this was done; with "pause" the VM is paused, and "resume" goes on. */
  watchdog: [action: WatchdogAction];
  /** The guest is off ("off": powered off) or crashed, with the report. */
  exit: [result: VmExit];
}

export type VmExit =
  /** `limit`: it was ended because it had used up what it was allowed. */
  | { readonly kind: "off"; readonly reason: string; readonly limit?: keyof HardLimits }
  /** It goes on elsewhere. */
  | { readonly kind: "migrated"; readonly reason: string }
  | { readonly kind: "crashed"; readonly reason: string; readonly report: string; readonly code?: string };

export interface SerialPort {
  /**
   * Bytes that the guest writes, from the moment of the call of its iterator. A guest whose output nobody takes waits:
   * end an iterator (`break`) that is no longer wanted.
   */
  readonly output: AsyncIterable<Uint8Array>;
  /** Bytes that the guest writes, at once. Returns what ends it. */
  onData(listener: (bytes: Uint8Array) => void): () => void;
  /** Types. Resolves when the machine has taken all of it, which a guest that does not read delays, or has ended. */
  write(bytes: Uint8Array | string): Promise<void>;
  /**
   * Resolves with the text from the last match up to and with this one, also when it is there already (the last 256 Ki
   * characters are kept); rejects on time-out, abort, or when the guest ends. Text that was matched is not searched again.
   */
  waitFor(pattern: string | RegExp, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<string>;
}

/** Why a VM that is debugged has stopped. */
export interface VmDebugStop {
  /** step: one instruction has retired. breakpoint: in front of the instruction. watchpoint: behind the access. */
  readonly kind: DebugStop["kind"];
  /** What was asked for: of the instruction, or what is watched. */
  readonly address?: bigint;
  readonly vcpu: number;
}

/**
 * A debugger outside the guest, which cannot tell. Addresses are linear (virtual), as the vCPU's page tables map them, unless
 * `isPhysical`. All breakpoints are every vCPU's. Works the same on both engines; docs/guide/debug.md.
 */
export interface VmDebugger {
  /**
   * What the VM stops for from here on, instead of what was set before; undefined: nothing. Running or not. It is set again
   * behind a change of engine, and stays behind in a migration. Rejects with VmError "bad-option" for what cannot be.
   */
  set(request: DebugRequest | undefined): Promise<void>;
  /** Powers on and is paused in front of the first instruction. */
  startPaused(): Promise<void>;
  /**
   * Of a paused VM: one instruction of the vCPU that has the turn. Interrupts wait meanwhile: rejects with VmError "bad-state"
   * where the guest waits for one (HLT).
   */
  step(): Promise<VmDebugStop>;
  /** Lets a paused VM go on, and resolves at its next stop. Rejects on time-out, abort, and when the guest ends. */
  continue(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<VmDebugStop>;
  /** All that the architecture knows of a vCPU. */
  registers(vcpu?: number): Promise<VcpuState>;
  /** Of a paused VM. The count of instructions stays. */
  setRegisters(state: VcpuState, vcpu?: number): Promise<void>;
  /** At most 1 MiB. Rejects with VmError "no-memory" where there is none. */
  readMemory(address: bigint, length: number, options?: DebugMemoryOptions): Promise<Uint8Array>;
  writeMemory(address: bigint, bytes: Uint8Array, options?: DebugMemoryOptions): Promise<void>;
}

export interface DebugMemoryOptions {
  /** Whose page tables: default 0. */
  readonly vcpu?: number;
  readonly isPhysical?: boolean;
}

export interface Screen {
  /** The rows of a text mode, without trailing blanks; undefined in graphics modes and while the screen is off. */
  text(): Promise<readonly string[] | undefined>;
  /** Pixels: red, green, blue and 255, row after row. */
  image(): Promise<ScreenImage>;
  /**
   * Resolves with the rows once they hold this text, which may span rows; rejects on time-out, abort, or when the guest
   * ends. The screen is looked at now and then: what shows only for a moment may be missed.
   */
  waitFor(pattern: string | RegExp, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<readonly string[]>;
}

export interface VsockOptions {
  readonly cid: number;
  readonly socketPath?: string;
}

export interface VmCpus {
  /** Those that are plugged in. */
  readonly count: number;
  /** The most that `set` can give it. */
  readonly max: number;
  /**
   * The guest shall have so many processors, 1 to `max`. More come at once, and the guest finds them by ACPI (in Linux they are used
   * once 1 is written to /sys/devices/system/cpu/cpuN/online, which the tiny image and distributions do by themselves); fewer go when
   * it lets go. Resolves with their number when so many are plugged in; rejects after `timeoutMs`, default 30 s; with 0 it does
   * not wait. A later call replaces an earlier one, which then resolves. Rejects with VmError "no-hot-cpus" for a VM without `maxCpus`.
   */
  set(count: number, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<number>;
  /** Throws what `set` would reject with before it does anything. */
  check(count: number): void;
}

export interface MemoryChange {
  /**
   * What the guest shall have: above what it started with by `resize`; below by its balloon, which then follows no need any
   * more. At least 16 MiB.
   */
  readonly sizeBytes?: number;
  /** As for `balloon`; not with a `sizeBytes` that the balloon is for. */
  readonly balloon?: number | "auto";
}

export interface VmMemory {
  /** Resolves when the guest has what it shall have; rejects as `resize` and `balloon`, before anything is done for what cannot be. */
  set(change: MemoryChange, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<void>;
  /** Throws what `set` would reject with before it does anything. */
  check(change: MemoryChange): void;
  /** What the guest has: what it started with, and what was plugged since, as its driver said last. */
  readonly sizeBytes: number;
  /** The most that `resize` can give it. */
  readonly maxBytes: number;
  /**
   * The guest shall have so many bytes, from what it started with up to `maxBytes`, and be given memory or give it back to the
   * host for that, in blocks of 2 MiB (Linux: of 128 MiB at first). Resolves with the new size when it has; rejects after
   * `timeoutMs`, default 30 s, and the guest goes on trying. With 0 it does not wait. A later call replaces an earlier one,
   * which then resolves. Rejects with VmError "no-hot-memory" for a VM without `maxMemoryBytes`.
   */
  resize(bytes: number, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<number>;
  /** What is in the balloon, as the guest said last. Without `hasBalloon` 0, and these methods reject with "no-balloon". */
  readonly balloonBytes: number;
  /**
   * The guest shall do without so many bytes of its memory, 0 for none: they become free for the host (with koffi, on Linux).
   * Resolves when it does, with their number; rejects after `timeoutMs`, default 30 s, and the guest goes on trying. With 0
   * it does not wait. A later call replaces an earlier one, which then resolves. "auto": from here on it follows what host and
   * guest need, looked at every second: idle memory goes to a host that is short of it (Linux: less than a tenth available, or
   * programs that wait for memory), and back when the guest needs it or the host has plenty; until a number of bytes is asked for.
   */
  balloon(bytes: number | "auto", options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<number>;
  readonly isBalloonAutomatic: boolean;
  /** What the guest says of its memory; a driver need not tell everything. Rejects after `timeoutMs`, default 5 s. */
  statistics(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<BalloonStatistics>;
}

export interface ExecOptions {
  readonly stdin?: Uint8Array | string | AsyncIterable<Uint8Array>;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Takes the output as it comes, which the result then does not hold. The command waits for a promise. */
  readonly onStdout?: (bytes: Uint8Array) => void | Promise<void>;
  readonly onStderr?: (bytes: Uint8Array) => void | Promise<void>;
  /** Kills the command. */
  readonly signal?: AbortSignal;
  /** How long a guest may take to start its agent, default 180 s. */
  readonly agentTimeoutMs?: number;
}

export interface ExecResult {
  /** The command's own; 126 cannot run, 127 not found, 128 + n killed by signal n. */
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

export interface Vm {
  readonly name: string;
  /** What executes it. */
  readonly engine: "jit" | "kvm";
  readonly state: VmState;
  readonly serial: SerialPort;
  /** The guest's agent, for what has no method here: processes as streams, terminals, host name, what the guest runs. */
  readonly agent: GuestAgent;
  on<K extends keyof VmEvents>(event: K, listener: (...args: VmEvents[K]) => void): () => void;
  /** Powers on; a restored VM goes on. Resolves when the machine runs. */
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  reset(): Promise<void>;
  /** What a reboot by the guest does from here on. Rejects with VmError "bad-state" for "stop" while it is recorded. */
  setOnReboot(action: RebootAction): Promise<void>;
  /** The sleep button, by ACPI: most operating systems then suspend, which the power button ends. */
  pressSleepButton(): Promise<void>;
  /** Asks the guest by the power button, waits `timeoutMs` (default 10 s), then ends it when `force` (default true). */
  stop(options?: { timeoutMs?: number; force?: boolean; signal?: AbortSignal }): Promise<void>;
  /** Ends the machine at once. */
  kill(): Promise<void>;
  /** Writes the whole machine to a file, by its path or as it is open; it goes on afterwards as it was. */
  save(
    file: string | OpenStateFile,
    options?: { signal?: AbortSignal; onProgress?: (p: VmProgress) => void },
  ): Promise<void>;
  /**
   * Records everything that enters from here on to the file `path`, and writes the state that `replayVm` begins from to
   * `state`. On the jit engine; the machine is paused for it.
   */
  record(path: string, options: { readonly state: string }): Promise<void>;
  readonly memory: VmMemory;
  readonly cpus: VmCpus;
  /** How fast and how large its disks may be, changed while it runs. */
  readonly disks: VmDisks;
  /** What it may use of its host, changed while it runs. */
  readonly resources: VmResources;
  readonly sockets: VmSockets;
  readonly network: VmNetwork;
  /**
   * HTTP to a server in a guest on a user network: `vm.fetch("http://guest:3000/")`. The URL's port counts, its host is what the
   * server is told. Rejects with VmError "no-network", "bad-option" for other schemes, "refused" where nobody listens.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** What a VM with `vga: "std"` shows. Its methods reject with VmError "no-screen" where there is none. */
  readonly screen: Screen;
  /** The screen as the bytes of a PNG file. */
  screenshot(): Promise<Uint8Array>;
  /**
   * Types at most 1000 characters on the keyboard of a VM with `vga: "std"`, a key every few milliseconds of guest time. `layout` is
   * what the guest takes the keyboard for: "us" (default) or "kr".
   */
  type(text: string, options?: { layout?: KeyboardLayout }): Promise<void>;
  /** Presses keys together and lets them go: "ctrl-alt-delete", "f2". */
  press(keys: string): Promise<void>;
  /**
   * Opens the tray of a CD drive, by its name in the spec ("disk1" is the second disk), and takes the disc out. VmError
   * "tray-locked" while the guest holds it closed, which hears of the wish; `force` opens it all the same. A disk in a bay
   * (`VmOptions.diskBays`) leaves when the guest has let it go; VmError "timeout" when it has not within 30 s.
   */
  eject(disk: string, options?: { force?: boolean }): Promise<void>;
  /** Puts an image into a CD drive, in place of the disc that is in it, and closes the tray, or into an empty bay; the guest notices. */
  insert(disk: string, path: string, options?: { force?: boolean }): Promise<void>;
  /** Runs a command in the guest through its agent. */
  exec(command: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Writes a file in the guest: all of it or nothing. */
  writeFile(path: string, data: Uint8Array, options?: { mode?: number; signal?: AbortSignal }): Promise<void>;
  readFile(path: string, options?: { signal?: AbortSignal }): Promise<Uint8Array>;
  /**
   * Brings the file systems on the guest's disks into a state in which a copy of the disks is whole, and holds all writes to
   * them until `thaw`. Resolves with how many there are. A saved state needs none of it: the guest's memory is in it.
   */
  freeze(options?: AgentCall): Promise<number>;
  thaw(options?: AgentCall): Promise<number>;
  /** Sets the guest's clock, in milliseconds since 1970 UTC; default: to the host's. */
  setTime(unixMs?: number, options?: AgentCall): Promise<void>;
  /**
   * Lets the guest's agent turn the guest off, or start it again; resolves when it has begun, `wait` tells of the end. `stop`
   * asks by the power button, and needs no agent.
   */
  shutdown(options?: AgentCall & { isReboot?: boolean }): Promise<void>;
  /** Resolves when the machine is off or crashed. */
  wait(options?: { signal?: AbortSignal }): Promise<VmExit>;
  /** SHA-256 over the whole state, as hexadecimal digits. The machine is paused for it. */
  stateHash(): Promise<string>;
  /** Counters by name (docs/jit.md): retired, guestNs, calendarSeconds, busyMs, idleMs, outputBytes, time by tier, the engine's. */
  stats(): Promise<Readonly<Record<string, number>>>;
  /** Breakpoints, steps, registers and memory, from outside the guest. */
  readonly debug: VmDebugger;
  /** The processor's registers at the next boundary. */
  registers(): Promise<VmRegisters>;
  /**
   * Moves the running VM to another process, which waits at `target` ("unix:PATH" or "tcp:HOST:PORT") by `receiveVm`. This
   * VM is "migrated" then. Rejects with MigrationError: the VM runs on here, but for the code "undecided"
   * (docs/migration.md). `signal` cancels, until the last step.
   */
  migrate(target: string, options?: MigrateVmOptions): Promise<MigrationResult>;
  /**
   * What speaks against it, in words; nothing is started. Rejects where the target cannot be asked. A target "jit" or "kvm"
   * is that engine, in this process.
   */
  canMigrate(target: string, options?: MigrateVmOptions): Promise<readonly MigrationObstacle[]>;
  /**
   * The guest goes on in the other engine; this VM, its console and its agent stay what they are, and its memory is not
   * copied. Rejects with MigrationError "refused" and the obstacles, or with what else failed: the guest goes on where it was.
   */
  switchEngine(engine: "jit" | "kvm", options?: EngineSwitchOptions): Promise<EngineSwitchResult>;
  /** After "undecided": "run" here, if it does not run at the target and never will; or "discard" it here. */
  decideMigration(choice: MigrationChoice): Promise<void>;
  /** Ends the worker and frees everything. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
