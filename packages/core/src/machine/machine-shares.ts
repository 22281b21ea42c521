/**
 * A machine's shared folders: which device a completion is for, and what has the files. A replay has no back-end: completions
 * come from the recording, and what the guest writes goes nowhere.
 */
import { FILE_LIMITS, type FileBackend, type FileChannel, type FileCompletion } from "../devices/files/file-channel.ts";
import { MachineError } from "./machine-contract.ts";

export class MachineShares {
  readonly #devices = new Map<string, (completion: FileCompletion) => void>();
  /** Undefined in a replay. Asked at each request. */
  readonly #backend: () => FileBackend | undefined;
  #unwanted: Uint8Array | undefined;
  #underWay = 0;

  constructor(backend: () => FileBackend | undefined) {
    this.#backend = backend;
  }

  /** Requests that have left the machine, and whose completion has not entered. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Throws MachineError if the channel has a device. */
  open(channel: string, onDone: (completion: FileCompletion) => void): FileChannel {
    if (this.#devices.has(channel)) throw new MachineError("channel", `Two devices share the folder ${channel}.`);
    this.#devices.set(channel, onDone);
    return {
      dataBuffer: (length) => this.#backend()?.dataBuffer(channel, length) ?? this.#nowhere(length),
      submit: (id, message, dataBytes) => {
        this.#underWay++;
        this.#backend()?.submit(channel, id, message, dataBytes);
      },
    };
  }

  /** False: the machine has no such folder. */
  complete(completion: FileCompletion & { readonly channel: string }): boolean {
    const onDone = this.#devices.get(completion.channel);
    if (!onDone) return false;
    this.#underWay = Math.max(0, this.#underWay - 1);
    onDone(completion);
    return true;
  }

  #nowhere(length: number): Uint8Array {
    this.#unwanted ??= new Uint8Array(FILE_LIMITS.dataBytes);
    return this.#unwanted.subarray(0, length);
  }
}
