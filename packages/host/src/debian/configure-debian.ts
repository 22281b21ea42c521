/** Configures an unpacked Debian (debian-root.ts) on its disk: its packages' scripts run in a VM, whoever starts this. */
import { ImageError } from "../image/image-error.ts";
import { createVm } from "../vm/create-vm.ts";
import type { Vm, VmOptions } from "../vm/vm.ts";
import { CONFIGURE_SCRIPT, OWN_STEPS, STEP_LINE } from "./configure-script.ts";

export interface ConfigureOptions {
  readonly kernelPath: string;
  readonly initrdPath: string;
  readonly kernelRelease: string;
  readonly diskPath: string;
  /** Whose scripts are to run. */
  readonly packageCount: number;
  readonly translationCache: VmOptions["translationCache"];
  readonly onProgress: (doneSteps: number, totalSteps: number) => void;
  readonly signal: AbortSignal | undefined;
}

const MEMORY_BYTES = 2 ** 30;
const LIMIT_MS = 60 * 60_000;
const KEPT_OUTPUT_BYTES = 4096;

/** Rejects with ImageError "IMAGE_TOOL" and what VMs reject with, or the signal's reason. */
export async function configureDebian(options: ConfigureOptions): Promise<void> {
  const { kernelPath, initrdPath, kernelRelease, diskPath, translationCache, onProgress } = options;
  const total = options.packageCount + OWN_STEPS;
  const limit = AbortSignal.timeout(LIMIT_MS);
  const signal = options.signal === undefined ? limit : AbortSignal.any([options.signal, limit]);
  onProgress(0, total);
  const vm = await createVm({
    kernel: kernelPath,
    initrd: initrdPath,
    append: "twinmetal.shell=off",
    isQuiet: true,
    memoryBytes: MEMORY_BYTES,
    disks: [{ path: diskPath, format: "raw" }],
    translationCache,
    signal,
  });
  try {
    await runScript(vm, kernelRelease, signal, (begun) => onProgress(Math.min(total, begun), total));
    await vm.shutdown();
    await vm.wait();
  } finally {
    await vm.close();
  }
}

/** `onBegun`: how many steps have begun so far. */
async function runScript(
  vm: Vm,
  kernelRelease: string,
  signal: AbortSignal,
  onBegun: (steps: number) => void,
): Promise<void> {
  await vm.start();
  let tail = "";
  let done = 0;
  const take = (bytes: Uint8Array): void => {
    const text = Buffer.from(bytes).toString("utf8");
    const lines = `${tail.slice(tail.lastIndexOf("\n") + 1)}${text}`.split("\n").slice(0, -1);
    const begun = lines.filter((line) => line.startsWith(STEP_LINE)).length;
    if (begun > 0) onBegun((done += begun));
    tail = (tail + text).slice(-KEPT_OUTPUT_BYTES);
  };
  const { exitCode } = await vm.exec(["sh", "-s", "--", kernelRelease], {
    stdin: CONFIGURE_SCRIPT,
    onStdout: take,
    onStderr: take,
    signal,
  });
  if (exitCode !== 0) {
    const said = tail.trimEnd().split("\n").slice(-6).join("\n  ");
    throw new ImageError(
      "IMAGE_TOOL",
      `Debian's packages could not be configured (status ${exitCode}). The last that was said:\n  ${said}\n`,
      "Try again with another --mirror or --suite; if it stays, report it with these lines.",
    );
  }
}
