/**
 * A machine's disks: which device a completion is for, and what keeps the bytes. A replay has no back-end: completions come
 * from the recording, and what the guest writes goes nowhere.
 */
import { BLOCK_LIMITS, type BlockBackend, type BlockChannel, type BlockCompletion } from "../devices/block-channel.ts";
import { MachineError } from "./machine-contract.ts";

export class MachineDisks {
  readonly #devices = new Map<string, (completion: BlockCompletion) => void>();
  /** Undefined in a replay. Asked at each request. */
  readonly #backend: () => BlockBackend | undefined;
  #unwanted: Uint8Array | undefined;
  #underWay = 0;

  constructor(backend: () => BlockBackend | undefined) {
    this.#backend = backend;
  }

  /** Requests that have left the machine, and whose completion has not entered. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Throws MachineError if the channel has a device. */
  open(channel: string, onDone: (completion: BlockCompletion) => void): BlockChannel {
    if (this.#devices.has(channel)) throw new MachineError("channel", `Two devices use the disk ${channel}.`);
    this.#devices.set(channel, onDone);
    return {
      writeBuffer: (length) => this.#backend()?.writeBuffer(channel, length) ?? this.#nowhere(length),
      submit: (request) => {
        this.#underWay++;
        this.#backend()?.submit(channel, request);
      },
    };
  }

  /** False: the machine has no such disk. */
  complete(completion: BlockCompletion & { readonly channel: string }): boolean {
    const onDone = this.#devices.get(completion.channel);
    if (!onDone) return false;
    this.#underWay = Math.max(0, this.#underWay - 1);
    onDone(completion);
    return true;
  }

  #nowhere(length: number): Uint8Array {
    this.#unwanted ??= new Uint8Array(BLOCK_LIMITS.bytes);
    return this.#unwanted.subarray(0, length);
  }
}
