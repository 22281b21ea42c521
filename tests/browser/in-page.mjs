// What the tests do inside a page, with the package as its user sees it. Times are in milliseconds.

import { createVm, VmError } from "twinmetal/browser";

const TIMEOUT_MS = 90_000;

/** A file of the test's server. */
export async function file(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The text of a VM's serial port, and a wait for some in it. */
export class Console {
  text = "";
  #waiting = new Set();

  constructor(vm) {
    const decoder = new TextDecoder();
    vm.serial.onData((bytes) => {
      this.text += decoder.decode(bytes, { stream: true });
      for (const look of this.#waiting) look();
    });
  }

  async waitFor(part) {
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${part} in ${this.text.slice(-2000)}`)), TIMEOUT_MS);
      const look = () => {
        if (!this.text.includes(part)) return;
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** Boots a Linux to its prompt, runs a command in it, and lets it turn itself off. */
export async function bootLinux({ prompt, command, answer, ...options }) {
  const [kernel, initrd] = [await file("/kernel.bin"), await file("/initrd.bin")];
  const before = performance.now();
  const vm = await createVm({ ...options, kernel, initrd });
  const created = performance.now();
  const console = new Console(vm);
  await vm.start();
  await console.waitFor(prompt);
  const booted = performance.now();
  const stats = await vm.stats();
  await vm.serial.write(`${command}\n`);
  await console.waitFor(answer);
  await vm.serial.write("poweroff\n");
  const end = await vm.wait();
  vm.close();
  return {
    createMs: created - before,
    bootMs: booted - created,
    stats,
    end,
    text: console.text,
    isIsolated: crossOriginIsolated,
    hasSharedMemory: vm.hasSharedMemory,
  };
}

/** A VM of a few instructions (tests/guest/bare-kernel.ts), interpreted unless the test asks for more. */
export async function bare(name, options = {}) {
  const vm = await createVm({
    memoryBytes: 2 ** 26,
    tier: "interp",
    ...options,
    kernel: await file(`/guest/${name}.bin`),
  });
  return { vm, console: new Console(vm) };
}

/** What a promise is rejected with: its code, or what else it was. */
export async function codeOf(promise) {
  try {
    await promise;
    return "resolved";
  } catch (error) {
    return error instanceof VmError ? error.code : `${error}`;
  }
}

export { createVm };
