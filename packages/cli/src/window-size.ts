/**
 * Keeps the guest's console at the size of the user's window, through the guest's agent. (A virtio-console could tell the
 * guest itself; Linux before 6.15 reads that message's rows and columns in the wrong order.) One request at a time; of
 * sizes that come in quick succession the last one counts.
 */
import type { OutputTarget } from "./command.ts";
import type { Vm } from "./vm-library.ts";

export class WindowSize {
  readonly #stdout: OutputTarget;
  readonly #vm: Vm;
  #isWanted = false;
  #isBusy = false;

  constructor(stdout: OutputTarget, vm: Vm) {
    this.#stdout = stdout;
    this.#vm = vm;
  }

  update(): void {
    this.#isWanted = true;
    if (!this.#isBusy) void this.#send();
  }

  async #send(): Promise<void> {
    this.#isBusy = true;
    while (this.#isWanted) {
      this.#isWanted = false;
      try {
        await this.#vm.agent.connect({ timeoutMs: 600_000 });
        const { rows = 0, columns = 0 } = this.#stdout;
        if (rows > 0 && columns > 0) await this.#vm.agent.setWindowSize(rows, columns);
      } catch {
        // A guest without a size still works: it has ended, or its agent has.
      }
    }
    this.#isBusy = false;
  }
}
