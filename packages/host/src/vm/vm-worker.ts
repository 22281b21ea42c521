/**
 * The entry of the thread that a machine runs in: builds the machine from what it is handed (worker-protocol.ts), from
 * power-on or from a saved state, with or without a recording, then runs it until another thread goes on with the guest.
 * What is here then, code above all, waits for the next machine that it is handed.
 */
import { once } from "node:events";
import { parentPort, workerData } from "node:worker_threads";
import {
  type Board,
  type BoardWiring,
  checkRecording,
  createBoard,
  EventReplay,
  engineRamOf,
  GENERATION_CHANNEL,
  Machine,
  restoreMachine,
} from "@twinmetal/core";
import { JitEngine, ParallelEngine, provideCoreModule } from "@twinmetal/core/engine";
import { RingBlocks } from "../disk/block-ring.ts";
import { isNoCalls, linuxCalls } from "../kvm/koffi-calls.ts";
import { KvmEngine, KvmError } from "../kvm/kvm-engine.ts";
import { LinuxError } from "../kvm/linux-calls.ts";
import { RingNetwork } from "../network/frame-ring.ts";
import { CpuPacing } from "../resources/cpu-pacing.ts";
import { ownThreadId, ThreadClock } from "../resources/thread-time.ts";
import { RingFiles } from "../share/share-ring.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { sharedRam } from "./machine-migration.ts";
import { MachineThread } from "./machine-thread.ts";
import { nativeSha256 } from "./native-sha256.ts";
import { OpenBootFile } from "./open-boot-file.ts";
import { PortTranslator } from "./port-translator.ts";
import { FileSource, FileStream, startRecording } from "./state-files.ts";
import { VcpuThreads } from "./vcpu-threads.ts";
import { plainError, VmError } from "./vm-error.ts";
import type { FromMachine, WorkerStart } from "./worker-protocol.ts";

let start = workerData as WorkerStart;
const send = (message: FromMachine, transfer?: ArrayBuffer[]): void => parentPort!.postMessage(message, transfer);

let blocks: RingBlocks | undefined;
let engine: JitEngine | KvmEngine | ParallelEngine | undefined;
/** As the host numbers them: of the threads that run vCPUs. */
let threadIds = new Int32Array(new SharedArrayBuffer(0));
/** Of vCPUs in parallel. */
let threads: VcpuThreads | undefined;

function createMachine(thread: MachineThread): Machine {
  const { spec } = start;
  engine = createEngine();
  if (spec.devices.some(({ kind }) => kind === "virtio-balloon" || kind === "virtio-mem")) giveBackPages(engine);
  blocks = start.ring && new RingBlocks(start.ring, sharedRam(engine.memory));
  return new Machine({
    spec,
    memory: engine.memory,
    engine,
    createBoard: boardWithFiles,
    output: (channel, bytes) => thread.output(channel, bytes),
    wallNs: () => performance.now() * 1e6,
    blocks,
    network: start.frames && new RingNetwork(start.frames),
    files: start.shareRing && new RingFiles(start.shareRing),
    sliceNs: start.sliceNs,
    onReboot: start.onReboot,
    sha256: nativeSha256,
  });
}

/** Of what the guest gives up, the host gets the pages. */
function giveBackPages({ memory }: NonNullable<typeof engine>): void {
  const calls = linuxCalls();
  if (!isNoCalls(calls)) memory.giveBack = (bytes) => calls.discard(bytes);
}

function createEngine(): NonNullable<typeof engine> {
  const { tscFrequencyHz, cpuFeatures, cpus } = start.spec;
  const ram = engineRamOf(start.spec);
  const hasVga = start.spec.vga !== undefined;
  const firmware = start.files?.firmware && { rom: start.files.firmware.bytes };
  threads = start.isParallel ? new VcpuThreads(start, threadIds) : undefined;
  try {
    if (start.engine === "kvm")
      return new KvmEngine({
        ...ram,
        tscFrequencyHz,
        cpuFeatures,
        cpus,
        hasVga,
        cells: start.vcpuCells,
        holder: start.holder,
        ...firmware,
        ...(threads && { parallel: threads.forKvm }),
      });
    if (start.core) provideCoreModule(start.core);
    const translator = start.translator && { translator: new PortTranslator(start.translator, start.kept) };
    if (threads)
      return new ParallelEngine({
        ...{ ...ram, tscFrequencyHz, cpuFeatures, cpus, hasVga, onDropped: collectGarbage },
        ...threads.forJit,
        ...firmware,
        ...translator,
      });
    return new JitEngine({
      ...ram,
      tscFrequencyHz,
      cpuFeatures,
      cpus,
      hasVga,
      tier: start.tier,
      onDropped: collectGarbage,
      holder: start.holder,
      ...firmware,
      ...translator,
    });
  } catch (error) {
    if (error instanceof KvmError || error instanceof LinuxError) {
      throw new VmError("kvm-unavailable", `The VM cannot run on the kvm engine here. ${error.message}`, {
        cause: error,
      });
    }
    if (!(error instanceof RangeError)) throw error;
    throw new VmError(
      "memory-unavailable",
      `The host could not give ${ram.memoryBytes / 2 ** 20} MiB of memory to the VM (${error.message}). Give it less, or free some.`,
      { cause: error },
    );
  }
}

/** A machine whose files are not to be found, or are others by now, runs, but has nothing to start again from. */
function boardWithFiles(wiring: BoardWiring): Board {
  const { kernel, initrd, modules = [], variables, vgaRom, cardRoms } = start.files ?? {};
  if (!start.spec.boot) {
    const roms = { "virtio-net": cardRoms?.["virtio-net"]?.bytes, e1000: cardRoms?.e1000?.bytes };
    return createBoard(wiring, undefined, variables?.bytes, vgaRom?.bytes, roms);
  }
  const files = kernel && {
    kernel: new OpenBootFile(kernel),
    ...(initrd && { initrd: new OpenBootFile(initrd) }),
    modules: modules.map((module) => new OpenBootFile(module)),
  };
  const opened = files ? [files.kernel, files.initrd, ...files.modules] : [];
  const board = createBoard(wiring, files);
  const boot = (): ReturnType<Board["boot"]> => {
    if (files && !opened.some((file) => file?.hasChanged)) return board.boot();
    const why = files
      ? "a file of its kernel, initrd or modules was changed since"
      : "the files of its kernel are not known here; give them to the restore";
    return wiring.context.power("off", `the guest reset, and ${why}`) as undefined;
  };
  return { ...board, boot };
}

/** Throws ReplayError, StateError, VmError. */
function prepare(thread: MachineThread): [Machine, Parameters<MachineThread["run"]>[1]] {
  const machine = createMachine(thread);
  let startHash: Uint8Array | null = null;
  if (start.statePath !== undefined) {
    const source = new FileSource(start.statePath, "state");
    try {
      restoreMachine(machine, source);
    } finally {
      source.close();
    }
    if (start.recordPath !== undefined || start.replayPath !== undefined) startHash = machine.stateHash();
  }
  let recorder: Parameters<MachineThread["run"]>[1];
  if (start.replayPath !== undefined) {
    const replay = new EventReplay(new FileStream(new FileSource(start.replayPath, "recording")));
    checkRecording(replay.header, start.spec, startHash);
    machine.attachLog(replay);
  } else if (start.recordPath !== undefined) {
    recorder = startRecording(machine, start.recordPath, startHash);
  }
  const { advanceCalendarSeconds, generationId } = start;
  if (generationId && start.replayPath === undefined) machine.input(GENERATION_CHANNEL, generationId);
  if (advanceCalendarSeconds > 0 && start.replayPath === undefined) machine.advanceCalendar(advanceCalendarSeconds);
  return [machine, recorder];
}

/** False where the machine could not be built. */
function runMachine(): boolean {
  // The first is this one's; those of vCPUs in parallel tell theirs.
  threadIds = new Int32Array(new SharedArrayBuffer(4 * start.spec.cpus));
  threadIds[0] = ownThreadId();
  const clock = new ThreadClock(threadIds);
  const pacing = new CpuPacing({ threadTime: () => clock.read() });
  const thread = new MachineThread({
    pacing,
    cells: new Int32Array(start.cells),
    port: start.port,
    send,
    onEnd: () => engine instanceof JitEngine && engine.keepWarm(),
    onAlone: () => engine instanceof KvmEngine && engine.discardTables(),
  });
  let prepared: ReturnType<typeof prepare>;
  try {
    prepared = prepare(thread);
    if (start.limits) pacing.set(start.limits);
  } catch (error) {
    send({ type: "ready", error: plainError(error) });
    return false;
  }
  const activity = engine instanceof JitEngine ? engine.activity : undefined;
  const memory = blocks?.memory;
  send({ type: "ready", ...(activity && { activity }), ...(memory && { memory }) });
  thread.run(prepared[0], prepared[1], start.replayPath !== undefined);
  engine = undefined;
  blocks = undefined;
  pacing.close();
  clock.close();
  void threads?.end();
  threads = undefined;
  return true;
}

while (runMachine()) {
  const next = once(parentPort!, "message");
  // What the machine that was left has made outside of V8's heap is held by objects of no size.
  collectGarbage();
  [start] = (await next) as [WorkerStart];
}
