/** A machine's disks: their requests (machine-requests.ts) go to what keeps the bytes. */
import { BLOCK_LIMITS, type BlockBackend, type BlockChannel, type BlockCompletion } from "../devices/block-channel.ts";
import { MachineRequests } from "./machine-requests.ts";

export class MachineDisks extends MachineRequests<BlockCompletion> {
  /** Undefined in a replay. Asked at each request. */
  readonly #backend: () => BlockBackend | undefined;
  readonly #isRecorded: () => boolean;

  constructor(backend: () => BlockBackend | undefined, isRecorded: () => boolean) {
    super("disk", BLOCK_LIMITS.bytes);
    this.#backend = backend;
    this.#isRecorded = isRecorded;
  }

  /** Throws MachineError if the channel has a device. */
  open(channel: string, onDone: (completion: BlockCompletion) => void): BlockChannel {
    this.listen(channel, onDone);
    const reachesMemory = (): boolean => !this.#isRecorded() && (this.#backend()?.reachesMemory ?? false);
    return {
      get reachesMemory() {
        return reachesMemory();
      },
      withdraw: () => this.#backend()?.withdraw?.(channel),
      writeBuffer: (length) => this.#backend()?.writeBuffer(channel, length) ?? this.nowhere(length),
      submit: (request) => {
        this.begin();
        this.#backend()?.submit(channel, request);
      },
    };
  }
}
