/** `run debian`: its kernel with its disk, on which a VM that stays has one of its own. */
import type { GivenBoot, PreparedBoot, RunValues } from "./boot-plan.ts";
import type { Io } from "./command.ts";
import { imageProgress } from "./image-progress.ts";
import { translationCache } from "./translation-cache.ts";
import type { DebianImage, DiskOptions, VmProgress } from "./vm-library.ts";

export interface DebianBoot extends Pick<PreparedBoot, "boot"> {
  readonly disk: DiskOptions;
  readonly directory: string;
}

export async function debianBoot(
  io: Io,
  { mirror, suite, translationCache: cache }: RunValues,
  { append, folder }: GivenBoot,
  signal: AbortSignal,
  onProgress: (progress: VmProgress) => void,
): Promise<DebianBoot> {
  const make = (): Promise<DebianImage> =>
    io.library.ensureDebianImage({
      mirror,
      suite,
      translationCache: translationCache(cache, io.env),
      signal,
      onProgress: (progress) => onProgress(imageProgress(progress)),
      onWarning: (message) => void io.stderr.write(`twinmetal: ${message}\n`),
    });
  const { keptDebian, keptImage, writtenImage } = io.library;
  const image = folder === undefined ? await make() : await keptDebian(writtenImage(folder)?.path, make, signal);
  const template: DiskOptions = { path: image.diskPath, format: "raw" };
  const disk = folder === undefined ? { ...template, isEphemeral: true } : await keptImage(folder, template);
  const words = [image.append, append].filter((text) => text !== "").join(" ");
  const boot = { kernel: image.kernelPath, initrd: image.initrdPath, append: words, isQuiet: true };
  return { boot, disk, directory: image.directory };
}
