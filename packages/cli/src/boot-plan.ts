/** What a run starts from, by its options: an image, a kernel, firmware; and what comes with an image beside that. */

import { cloudInitOf, filesOfCloudInit, seedDisks } from "./cloud-init-choice.ts";
import type { Io } from "./command.ts";
import type { RUN_OPTIONS } from "./commands/run.ts";
import { debianBoot } from "./debian-boot.ts";
import { disksOf, limitedDisk } from "./disk-choice.ts";
import { type ImageChoice, isImage, parseImage } from "./image-choice.ts";
import { imageProgress } from "./image-progress.ts";
import type { OptionValues } from "./options.ts";
import { UsageError } from "./usage-error.ts";
import type { DiskLimits, DiskOptions, TinyImage, VmFolder, VmOptions, VmProgress } from "./vm-library.ts";

/** Beside what was said, what a policy has put there. */
export interface PolicyValues {
  /** Of a disk whose own options say nothing. */
  readonly diskLimits?: DiskLimits | undefined;
  readonly policyPath?: string | undefined;
}

export type RunValues = OptionValues<typeof RUN_OPTIONS> & PolicyValues;

const SYSTEM_MEMORY_BYTES = 2 ** 30;

type BootOptions = Pick<
  VmOptions,
  "kernel" | "initrd" | "modules" | "firmware" | "hasBootMenu" | "bootOrder" | "append" | "isQuiet"
>;

export interface PreparedBoot {
  readonly boot: BootOptions;
  /** Of all that the VM has. */
  readonly disks: readonly DiskOptions[];
  /** Files that its process reads. */
  readonly files: readonly string[];
  /** An image's program, where it has one. */
  readonly command?: readonly string[];
}

export type PrepareBoot = (signal: AbortSignal, onProgress: (progress: VmProgress) => void) => Promise<PreparedBoot>;

/** Undefined: no image. Throws UsageError. */
export function chooseImage(values: RunValues, operands: readonly string[]): ImageChoice | undefined {
  const [name, extra] = operands;
  if (extra !== undefined) {
    const words = isImage(name!) ? [name, "--", ...operands.slice(1)] : ["--", ...operands];
    throw new UsageError(
      `"${extra}" is one word too many. A command for the guest comes after --: twinmetal run ${words.join(" ")}`,
    );
  }
  const image = name === undefined ? undefined : parseImage(name);
  if (values.firmware !== undefined) {
    const other = (["kernel", "initrd", "module", "append"] as const).find((option) => values[option] !== undefined);
    if ((image !== undefined && image.kind !== "disk") || other !== undefined)
      throw new UsageError(
        `--firmware and ${other === undefined ? `an image (${name})` : `--${other}`} exclude each other: firmware looks for what to start by itself.`,
      );
    return image;
  }
  if (image?.kind === "disk") {
    const other = (["kernel", "initrd", "module", "append"] as const).find((option) => values[option] !== undefined);
    if (other !== undefined)
      throw new UsageError(`--${other} and ${name} exclude each other: what is on the disk starts by itself.`);
    return image;
  }
  if (values.boot !== undefined) throw new UsageError("--boot is firmware's: give --firmware bios or uefi with it.");
  if (values.kernel !== undefined) {
    if (image !== undefined)
      throw new UsageError(`an image (${name}) and --kernel exclude each other: give one of them.`);
    return undefined;
  }
  if (values.module !== undefined) throw new UsageError("--module needs --kernel: an image's kernel takes none.");
  if (values.initrd !== undefined) throw new UsageError("--initrd needs --kernel: an image has its own.");
  return image ?? { kind: "tiny" };
}

/** With what an image brings where nothing else is said: an operating system needs memory, and waits for a network. */
export function withImage(values: RunValues, image: ImageChoice | undefined): RunValues {
  if (cloudInitOf(values) !== undefined && (image?.kind === "tiny" || image?.kind === "archive")) {
    throw new UsageError(
      "cloud-init is not in the tiny image or a container: name an image that has it, like debian, or leave its options out.",
    );
  }
  if (image?.kind !== "disk" && image?.kind !== "debian") return values;
  return {
    ...values,
    memory: values.memory ?? { bytes: SYSTEM_MEMORY_BYTES },
    net: values.net ?? [{ to: "user" }],
  };
}

export interface GivenBoot {
  readonly image: ImageChoice | undefined;
  /** For the kernel's command line. */
  readonly append: string;
  /** Behind `--`. */
  readonly command: readonly string[] | undefined;
  /** Of a VM that stays. */
  readonly folder: VmFolder | undefined;
}

/** Done once, however often it is asked for. */
export function bootPlan(io: Io, values: RunValues, given: GivenBoot): PrepareBoot {
  let prepared: Promise<PreparedBoot> | undefined;
  return (signal, onProgress) => {
    prepared ??= prepare(io, values, given, signal, onProgress);
    return prepared;
  };
}

async function prepare(
  io: Io,
  values: RunValues,
  given: GivenBoot,
  signal: AbortSignal,
  onProgress: (progress: VmProgress) => void,
): Promise<PreparedBoot> {
  // What is wrong with it is told before anything is fetched.
  const seed = await seedDisks(io, values);
  const prepared = await bootOf(io, values, given, signal, onProgress);
  const files = [...prepared.files, ...filesOfCloudInit(cloudInitOf(values) ?? {})];
  return { ...prepared, disks: [...prepared.disks, ...seed], files };
}

async function bootOf(
  io: Io,
  values: RunValues,
  given: GivenBoot,
  signal: AbortSignal,
  onProgress: (progress: VmProgress) => void,
): Promise<PreparedBoot> {
  const { kernel, initrd, module: modules, firmware } = values;
  const { image, append, folder, command } = given;
  const named = disksOf(values);
  const hasDisk = image?.kind === "disk" || image?.kind === "debian";
  const disks = folder ? await io.library.keptDisks(folder, named, hasDisk) : named;
  if (image?.kind === "tiny" || image?.kind === "archive") {
    const made = await ensureTiny(io, values, signal, onProgress);
    const boot = { kernel: made.kernelPath, initrd: made.initrdPath, append, isQuiet: true };
    if (image.kind === "tiny") return { boot, disks, files: [made.directory] };
    const onWarning = (message: string): void => void io.stderr.write(`twinmetal: ${message}\n`);
    const container = await io.library.ensureContainerImage({ path: image.path, signal, onProgress, onWarning });
    return {
      boot,
      disks: [{ path: container.diskPath, format: "raw", isEphemeral: true }, ...disks],
      files: [made.directory, image.path, container.directory],
      command: io.library.containerCommand(container, command),
    };
  }
  if (image?.kind === "debian") {
    const { boot, disk, directory } = await debianBoot(io, values, given, signal, onProgress);
    return { boot, disks: [limitedDisk(disk, values.diskLimits), ...disks], files: [directory] };
  }
  if (image?.kind === "disk") {
    const disk = folder ? await io.library.keptImage(folder, image.disk) : thrownAway(image.disk);
    const found = firmware ?? (await io.library.firmwareOfImage(disk));
    const own = limitedDisk(disk, values.diskLimits);
    return { boot: { firmware: found, ...values.boot }, disks: [own, ...disks], files: [] };
  }
  if (firmware !== undefined) return { boot: { firmware, ...values.boot }, disks, files: [] };
  const files = [kernel, initrd, ...(modules?.map(({ path }) => path) ?? [])].filter((path) => path !== undefined);
  return { boot: { kernel, initrd, modules, append, isQuiet: true }, disks, files };
}

function thrownAway(disk: DiskOptions): DiskOptions {
  return { ...disk, isEphemeral: !disk.isReadOnly };
}

async function ensureTiny(
  io: Io,
  { mirror, suite }: RunValues,
  signal: AbortSignal,
  onProgress: (progress: VmProgress) => void,
): Promise<TinyImage> {
  return await io.library.ensureTinyImage({
    mirror,
    suite,
    signal,
    onProgress: (progress) => onProgress(imageProgress(progress)),
    onWarning: (message) => void io.stderr.write(`twinmetal: ${message}\n`),
  });
}
