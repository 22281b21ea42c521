/** `replayVm`: runs a recording again, as fast as it goes, and compares the final state with the recorded one. */
import { EventReplay, type MachineSpec, recordedSpec, SERIAL_CHANNEL } from "@twinmetal/core";
import { findBootFiles } from "./boot-files.ts";
import { MachineWorker } from "./machine-worker.ts";
import { checkSlice, defaultSliceNs } from "./slice-time.ts";
import { FileSource, FileStream } from "./state-files.ts";
import { cacheSettings } from "./translation-settings.ts";
import type { ReplayOptions, ReplayResult, VmExit } from "./vm.ts";
import { asVmError, VmError, type VmErrorCode } from "./vm-error.ts";
import { PART_COST } from "./worker-protocol.ts";

/**
 * Resolves when the machine is in the recorded final state. Rejects with VmError: "replay-diverged" and its relatives,
 * "kernel-unknown" if the recorded files are not to be found; or with the signal's reason.
 */
export async function replayVm(path: string, options: ReplayOptions = {}): Promise<ReplayResult> {
  const { signal } = options;
  signal?.throwIfAborted();
  checkSlice(options.sliceNs);
  const spec = readRecordedSpec(path);
  const files = await findBootFiles(spec, options, { signal });
  if (spec.boot && !files) {
    throw new VmError(
      "kernel-unknown",
      `The recorded machine started from a kernel with SHA-256 ${spec.boot.kernel.sha256}, which is not at hand. Give it (and its initrd).`,
    );
  }
  let worker: MachineWorker | undefined;
  let result: ReplayResult | undefined;
  const { promise, settle } = exitPromise();
  worker = await MachineWorker.start(
    {
      spec,
      files,
      engine: "jit",
      tier: options.tier ?? "auto",
      translationCache: cacheSettings(spec, options.translationCache),
      sliceNs: options.sliceNs ?? defaultSliceNs("jit"),
      statePath: options.state,
      advanceCalendarSeconds: 0,
      recordPath: undefined,
      replayPath: path,
    },
    {
      onOutput: (parts) => {
        let cost = 0;
        for (const { channel, bytes } of parts) {
          cost += bytes.length + PART_COST;
          if (channel === SERIAL_CHANNEL) options.onSerial?.(bytes);
        }
        worker?.release(cost);
      },
      onSerialTaken: () => {},
      onState: () => {},
      onReplayEnd: (stateHash, retired) => {
        result = { stateHash, retired };
      },
      onExit: settle,
    },
    signal,
  );
  try {
    await worker.command("start", undefined);
    const exit = await abortable(promise, signal);
    if (result) return result;
    const code = exit.kind === "crashed" ? exit.code : undefined;
    throw new VmError((code as VmErrorCode | undefined) ?? "replay-diverged", exit.reason);
  } finally {
    await worker.terminate();
  }
}

function readRecordedSpec(path: string): MachineSpec {
  const source = new FileSource(path, "recording");
  try {
    return recordedSpec(new EventReplay(new FileStream(source)).header);
  } catch (error) {
    throw asVmError(error);
  } finally {
    source.close();
  }
}

function exitPromise(): { promise: Promise<VmExit>; settle: (exit: VmExit) => void } {
  let settle!: (exit: VmExit) => void;
  const promise = new Promise<VmExit>((resolve) => {
    settle = resolve;
  });
  return { promise, settle };
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await promise;
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
