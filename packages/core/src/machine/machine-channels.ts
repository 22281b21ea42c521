/**
 * A machine's ends of the channels to its outside: input, disks, network cards and shared folders, each named by its
 * device. What comes from there enters as events of the log; a replay has no back-ends, and finds all of it in its recording.
 */
import type { DeviceContext } from "../devices/device.ts";
import type { EventLog, MachineEvent } from "./events.ts";
import { MachineError, type MachineOptions } from "./machine-contract.ts";
import { MachineDisks } from "./machine-disks.ts";
import { MachineNetwork } from "./machine-network.ts";
import { MachineShares } from "./machine-shares.ts";

/** Of requests to disks, and to shared folders, at one boundary. */
const MAX_COMPLETIONS = 256;
/** To network cards, at one boundary. */
const MAX_FRAMES = 256;

type Backends = Pick<MachineOptions, "blocks" | "network" | "files">;
type ChannelEvent = Extract<MachineEvent, { readonly kind: "input" | "block" | "file" }>;

export class MachineChannels {
  readonly #backends: Backends;
  readonly #mode: () => EventLog["mode"];
  readonly #inputs = new Map<string, (bytes: Uint8Array) => void>();
  readonly #disks: MachineDisks;
  readonly #network: MachineNetwork;
  readonly #shares: MachineShares;

  /** `mode`: of the event log, asked at each call. */
  constructor(backends: Backends, mode: () => EventLog["mode"]) {
    this.#backends = backends;
    this.#mode = mode;
    this.#disks = new MachineDisks(
      () => (mode() === "replay" ? undefined : backends.blocks),
      () => mode() === "record",
    );
    this.#network = new MachineNetwork(() => (mode() === "replay" ? undefined : backends.network));
    this.#shares = new MachineShares(() => (mode() === "replay" ? undefined : backends.files));
  }

  /** What devices reach their outside by. */
  get forDevices(): Pick<DeviceContext, "onInput" | "openDisk" | "openNetwork" | "openShare"> {
    return {
      onInput: (channel, handler) => this.#listen(channel, handler),
      openDisk: (channel, onDone) => this.#disks.open(channel, onDone),
      openNetwork: (channel, port) => this.#network.open(channel, port, (name, handler) => this.#listen(name, handler)),
      openShare: (channel, onDone) => this.#shares.open(channel, onDone),
    };
  }

  /** Throws MachineError where no device takes input of this channel. */
  requireInput(channel: string): void {
    if (this.#inputs.has(channel)) return;
    throw new MachineError(
      "channel",
      `This machine has no input channel ${JSON.stringify(channel)}. It has: ${[...this.#inputs.keys()].join(", ")}.`,
    );
  }

  /** Requests to disks and shared folders that have left the machine, and whose completion has not entered. */
  get requestsUnderWay(): number {
    return this.#disks.underWay + this.#shares.underWay;
  }

  /** Whether `takeArrivals` has something. */
  get hasArrivals(): boolean {
    if (this.#mode() === "replay") return false;
    const { blocks, files } = this.#backends;
    return (blocks?.hasDone || files?.hasDone || this.#network.hasNext) ?? false;
  }

  /** What has come from the back-ends, in order, until `enter` takes no more (false). Not in a replay. */
  takeArrivals(enter: (event: MachineEvent) => boolean): void {
    const { blocks, files } = this.#backends;
    for (let i = 0; i < MAX_COMPLETIONS; i++) {
      const done = blocks?.take(this.#mode() === "record");
      if (!done) break;
      if (!enter({ kind: "block", ...done })) return;
    }
    for (let i = 0; i < MAX_COMPLETIONS; i++) {
      const done = files?.take();
      if (!done) break;
      if (!enter({ kind: "file", ...done })) return;
    }
    for (let i = 0; i < MAX_FRAMES; i++) {
      const next = this.#network.next();
      if (!next || !enter({ kind: "input", ...next })) return;
    }
  }

  /** To its device. In words: which device is not there. */
  deliver(event: ChannelEvent): string | undefined {
    switch (event.kind) {
      case "input": {
        const handler = this.#inputs.get(event.channel);
        if (!handler) return `input for a channel ${event.channel}`;
        handler(event.bytes);
        return undefined;
      }
      case "block":
        return this.#disks.complete(event) ? undefined : `a disk ${event.channel}`;
      case "file":
        return this.#shares.complete(event) ? undefined : `a shared folder ${event.channel}`;
    }
  }

  #listen(channel: string, handler: (bytes: Uint8Array) => void): void {
    if (this.#inputs.has(channel)) throw new MachineError("channel", `Two devices listen to the channel ${channel}.`);
    this.#inputs.set(channel, handler);
  }
}
