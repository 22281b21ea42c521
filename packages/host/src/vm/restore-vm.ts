/** `restoreVm`: a VM from a saved state. It is paused and goes on with `start`. */
import { randomBytes } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { GENERATION_ID_BYTES, type MachineSpec, readSpec, StateFile } from "@twinmetal/core";
import type { DiskThread } from "../disk/disk-thread.ts";
import { disksOfSpec, type SpecDisks } from "../disk/vm-disks.ts";
import { VariableStore } from "../firmware/variable-store.ts";
import type { NetworkThread } from "../network/network-thread.ts";
import { networksOfSpec } from "../network/vm-networks.ts";
import { checkLimits } from "../resources/vm-limits.ts";
import type { ShareThread } from "../share/share-thread.ts";
import { sharesOfSpec } from "../share/vm-shares.ts";
import { findBootFiles } from "./boot-files.ts";
import { engineFor } from "./engine-choice.ts";
import { HostedVm } from "./hosted-vm.ts";
import { runsInParallel } from "./parallel-choice.ts";
import { checkSlice, defaultSliceNs } from "./slice-time.ts";
import { FileSource } from "./state-files.ts";
import { cacheSettings } from "./translation-settings.ts";
import type { RestoreOptions, Vm } from "./vm.ts";
import { asVmError } from "./vm-error.ts";
import type { WorkerChoices } from "./worker-protocol.ts";

/**
 * Rejects with VmError ("state-..." for files that are no whole state of this version), or the signal's reason. The
 * guest's calendar goes on as if it had run since the file was written, its monotonic time stood still. It gets another
 * generation identifier, by which a guest with a driver for it (Linux 5.18 and newer, CONFIG_VMGENID) draws other random
 * numbers at once than other VMs of this state; with the first command, the guest's agent sets its clock by the calendar
 * and gives it new random numbers, which a Linux without that driver takes up when it next reseeds. A virtual clock stays
 * as it was, and so does the identifier.
 */
export async function restoreVm(path: string, options: RestoreOptions = {}): Promise<Vm> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  checkSlice(options.sliceNs);
  checkLimits(options.limits ?? {});
  const spec = readStateSpec(path);
  const files = await findBootFiles(spec, options, { signal, onProgress });
  const { engine } = engineFor({
    wish: options.engine,
    clock: spec.clock,
    cpuFeatures: spec.cpuFeatures,
    isRecorded: options.record !== undefined,
    hasTier: options.tier !== undefined && options.tier !== "auto",
    tscFrequencyHz: spec.tscFrequencyHz,
  });
  const network = networksOfSpec(spec, options.networks);
  let disks: SpecDisks | undefined;
  let shares: ShareThread | undefined;
  let variables: VariableStore | undefined;
  try {
    if (options.variables !== undefined && existsSync(options.variables))
      variables = await VariableStore.open(options.variables);
    disks = disksOfSpec(spec, options.disks);
    shares = sharesOfSpec(spec, options.shares);
    await disks?.open();
    await network?.open();
    await shares?.open();
    return await restoreWith(path, options, { spec, files, engine, disks: disks?.thread, network, shares, variables });
  } catch (error) {
    await variables?.close().catch(() => {});
    await network?.close().catch(() => {});
    await shares?.close().catch(() => {});
    await disks?.thread.close().catch(() => {}); // What went wrong first is told.
    throw error;
  }
}

interface Restored {
  readonly spec: MachineSpec;
  readonly files: WorkerChoices["files"];
  readonly engine: "jit" | "kvm";
  readonly disks: DiskThread | undefined;
  readonly network: NetworkThread | undefined;
  readonly shares: ShareThread | undefined;
  readonly variables: VariableStore | undefined;
}

async function restoreWith(
  path: string,
  options: RestoreOptions,
  { spec, files, engine, disks, network, shares, variables }: Restored,
): Promise<Vm> {
  const vm = await HostedVm.create({
    disks,
    variables,
    network,
    vsockPath: options.vsockPath,
    shares,
    name: options.name ?? `vm-${randomBytes(4).toString("hex")}`,
    initialState: "paused",
    startsPaused: options.startsPaused,
    signal: options.signal,
    limits: options.limits,
    start: {
      spec,
      files,
      ring: disks?.ring,
      frames: network?.ring,
      shareRing: shares?.ring,
      engine,
      tier: options.tier ?? "auto",
      smp: options.smp,
      isParallel: runsInParallel({ ...options, cpus: spec.cpus, clock: spec.clock }, engine),
      translationCache: cacheSettings(spec, options.translationCache),
      sliceNs: options.sliceNs ?? defaultSliceNs(engine),
      onReboot: options.onReboot,
      statePath: path,
      advanceCalendarSeconds: spec.clock === "wall" ? secondsSince(path) : 0,
      ...(spec.clock === "wall" ? { generationId: new Uint8Array(randomBytes(GENERATION_ID_BYTES)) } : {}),
      recordPath: options.record,
      replayPath: undefined,
    },
  });
  try {
    await vm.checkBays();
    return vm;
  } catch (error) {
    await vm.close();
    throw error;
  }
}

/** What the machine of a saved state is made of. Throws VmError. */
export function readStateSpec(path: string): MachineSpec {
  const source = new FileSource(path, "state");
  try {
    return readSpec(StateFile.open(source));
  } catch (error) {
    throw asVmError(error);
  } finally {
    source.close();
  }
}

function secondsSince(path: string): number {
  return Math.max(0, Math.floor((Date.now() - statSync(path).mtimeMs) / 1000));
}
