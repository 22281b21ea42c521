/** The VM object's end of the thread that has its shared folders (share-worker.ts). */
import { ServiceThread } from "../vm/service-thread.ts";
import { workerUrl } from "../vm/worker-url.ts";
import type { SharesQuestion, ShareThreadStart } from "./share-protocol.ts";
import { createShareRing, type ShareRing } from "./share-ring.ts";

export class ShareThread {
  readonly ring: ShareRing;
  readonly #thread: ServiceThread<SharesQuestion>;

  /** The thread, which has nothing open yet. `channels`: the shares' names, one for each folder. */
  constructor(folders: ShareThreadStart["folders"], channels: readonly string[]) {
    this.ring = createShareRing(channels);
    const workerData: ShareThreadStart = { folders, ring: this.ring };
    const what = "shared folders";
    this.#thread = new ServiceThread({ url: workerUrl("share-worker", "share"), name: "shares", what, workerData });
  }

  /** Rejects with VmError "share-...": nothing is open then. */
  async open(): Promise<void> {
    await this.#thread.ask({ type: "open" });
  }

  /** What was asked for is carried out, the folders are closed. Requests wait until `open`. */
  async suspend(): Promise<void> {
    await this.#thread.ask({ type: "suspend" });
  }

  /** How the machine is woken: ServiceThread. */
  wakes(cells: SharedArrayBuffer, index: number, vcpuCells?: SharedArrayBuffer): void {
    this.#thread.wakes(cells, index, vcpuCells);
  }

  /** As `suspend`, and the thread ends. Idempotent. */
  close(): Promise<void> {
    return this.#thread.close({ type: "suspend" });
  }
}
