/**
 * Runs Linux's x86 selftests in the tiny guest, each in a VM of its own: the guest boots once, and every test starts
 * from that saved state, so that one that hangs or brings the kernel down spoils no other.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createVm, restoreVm, type TinyImage } from "../../../packages/host/src/index.ts";
import type { SelfTests } from "./programs.ts";

export interface SelfTestResult {
  readonly name: string;
  /** The program's exit status; 124: it did not end in time. */
  readonly status: number;
  /** All that it printed, and the kernel's messages if it did not exit with 0. */
  readonly output: string;
  readonly seconds: number;
}

const MEMORY_BYTES = 256 * 2 ** 20;

export class SelfTestGuest implements AsyncDisposable {
  readonly #tests: SelfTests;
  readonly #image: TinyImage;
  readonly #directory: string = mkdtempSync(join(tmpdir(), "twinmetal-selftests-"));
  readonly #files: { readonly kernel: string; readonly initrd: string };

  private constructor(tests: SelfTests, image: TinyImage) {
    this.#tests = tests;
    this.#image = image;
    this.#files = { kernel: image.kernelPath, initrd: image.initrdPath };
  }

  static async boot(tests: SelfTests, image: TinyImage): Promise<SelfTestGuest> {
    const guest = new SelfTestGuest(tests, image);
    await using vm = await createVm({ ...guest.#files, memoryBytes: MEMORY_BYTES });
    await vm.start();
    await vm.exec(["true"]);
    await vm.save(guest.#state);
    return guest;
  }

  async run(name: string, timeoutSeconds: number): Promise<SelfTestResult> {
    await using vm = await restoreVm(this.#state, this.#files);
    let console = "";
    vm.serial.onData((bytes) => {
      console += new TextDecoder().decode(bytes);
    });
    await vm.start();
    await vm.writeFile(`/tmp/${name}`, readFileSync(join(this.#tests.directory, name)), { mode: 0o755 });
    const start = performance.now();
    const seconds = (): number => (performance.now() - start) / 1000;
    const signal = AbortSignal.timeout(timeoutSeconds * 1000);
    let output = "";
    const take = (bytes: Uint8Array): void => {
      output += new TextDecoder().decode(bytes);
    };
    try {
      const command = ["timeout", "-s", "KILL", String(timeoutSeconds * 2), `/tmp/${name}`];
      const { exitCode } = await vm.exec(command, { cwd: "/tmp", signal, onStdout: take, onStderr: take });
      return { name, status: exitCode, output: exitCode === 0 ? output : output + console, seconds: seconds() };
    } catch (error) {
      return { name, status: 124, output: `${output}${console}\n${(error as Error).message}`, seconds: seconds() };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #state(): string {
    return join(this.#directory, "booted.vm");
  }

  get kernelRelease(): string {
    return this.#image.kernelRelease;
  }
}

/** One line of a table: name, status, time, last line. */
export function tableRow({ name, status, output, seconds }: SelfTestResult): string {
  const lines = output.trimEnd().split("\n");
  return `${name.padEnd(28)} ${String(status).padStart(3)} ${seconds.toFixed(1).padStart(6)} s  ${lines.at(-1) ?? ""}`;
}
