/**
 * Virtio entropy device (virtio 1.2, 5.4): fills the driver's buffers from the machine's own random stream, which is a
 * function of the VM's seed. Synchronous: a request is answered within the notification. At most 4 KiB for each
 * buffer, so that a request costs bounded time; a driver asks again for more.
 */
import type { StateReader } from "../../state/reader.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { VIRTIO_ID, type VirtioHost, type VirtioModel } from "./model.ts";
import { VirtioPciDevice } from "./pci-transport.ts";

const REQUEST_QUEUE = 0;
const QUEUE_SIZE = 64;
const MAX_BYTES_PER_BUFFER = 4096;

class VirtioRng implements VirtioModel {
  readonly id: number = VIRTIO_ID.ENTROPY;
  readonly schema = { id: "virtio-rng", version: 1 } as const;
  /** A system peripheral of no other kind. */
  readonly classCode = 0x08_80_00;
  readonly features = 0n;
  readonly queueSizes: readonly number[] = [QUEUE_SIZE];
  readonly configBytes = 0;
  readonly #context: DeviceContext;
  readonly #host: VirtioHost;

  constructor(context: DeviceContext, host: VirtioHost) {
    this.#context = context;
    this.#host = host;
  }

  readConfig(): void {}

  start(): void {
    if (this.#host.isRunning) this.notified();
  }

  notified(): void {
    const queue = this.#host.queue(REQUEST_QUEUE);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const bytes = new Uint8Array(Math.min(chain.writableBytes, MAX_BYTES_PER_BUFFER));
      this.#context.random(bytes);
      if (!chain.write(0, bytes)) {
        this.#host.fail("a buffer for random bytes is not in RAM");
        return;
      }
      queue.push(chain, bytes.length);
    }
    this.#host.complete(REQUEST_QUEUE);
  }

  reset(): void {}

  save(): StateValue {
    return {};
  }

  restore(_reader: StateReader): void {}
}

export function createVirtioRng(context: DeviceContext, options: { readonly name: string }): VirtioPciDevice {
  return new VirtioPciDevice(context, options.name, (host) => new VirtioRng(context, host));
}
