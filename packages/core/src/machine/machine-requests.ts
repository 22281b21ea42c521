/**
 * Requests that leave a machine and come back as events: of its disks, and of its shared folders. Which device a completion is
 * for, and how many are under way. A replay has no back-end: completions come from the recording, and what the guest writes
 * goes nowhere.
 */
import { MachineError } from "./machine-contract.ts";

export abstract class MachineRequests<Completion> {
  readonly #devices = new Map<string, (completion: Completion) => void>();
  readonly #what: string;
  readonly #mostBytes: number;
  #unwanted: Uint8Array | undefined;
  #underWay = 0;

  /** `what`: "disk"; `mostBytes`: of what one request writes. */
  constructor(what: string, mostBytes: number) {
    this.#what = what;
    this.#mostBytes = mostBytes;
  }

  /** Requests that have left the machine, and whose completion has not entered. */
  get underWay(): number {
    return this.#underWay;
  }

  /** False: no device has the channel. */
  complete(completion: Completion & { readonly channel: string }): boolean {
    const onDone = this.#devices.get(completion.channel);
    if (!onDone) return false;
    this.#underWay = Math.max(0, this.#underWay - 1);
    onDone(completion);
    return true;
  }

  /** Throws MachineError if the channel has a device. */
  protected listen(channel: string, onDone: (completion: Completion) => void): void {
    if (this.#devices.has(channel)) throw new MachineError("channel", `Two devices use the ${this.#what} ${channel}.`);
    this.#devices.set(channel, onDone);
  }

  protected begin(): void {
    this.#underWay++;
  }

  /** Where a replay's guest writes to. */
  protected nowhere(length: number): Uint8Array {
    this.#unwanted ??= new Uint8Array(this.#mostBytes);
    return this.#unwanted.subarray(0, length);
  }
}
