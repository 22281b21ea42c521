/** The VM object's end of the thread that carries the frames of its network cards (network-worker.ts). */
import { ServiceThread } from "../vm/service-thread.ts";
import { workerUrl } from "../vm/worker-url.ts";
import { createFrameRing, type FrameRing } from "./frame-ring.ts";
import type {
  CardLimits,
  CardUsage,
  NetworkOptions,
  NetworkProblem,
  NetworkProblemTold,
  NetworkQuestion,
  NetworkReply,
  NetworkThreadStart,
} from "./network-protocol.ts";

export class NetworkThread {
  readonly ring: FrameRing;
  readonly #thread: ServiceThread<NetworkQuestion, NetworkReply, NetworkProblemTold>;
  readonly #limits: CardLimits[];
  readonly #networks: NetworkOptions[];
  onProblem: (problem: NetworkProblem) => void = () => {};

  private constructor(networks: readonly NetworkOptions[], channels: readonly string[]) {
    this.ring = createFrameRing(channels);
    this.#networks = [...networks];
    this.#limits = networks.map(({ limits = {} }) => limits);
    const workerData: NetworkThreadStart = { networks, ring: this.ring };
    const url = workerUrl("network-worker", "network");
    const onTold = ({ problem }: NetworkProblemTold): void => this.onProblem(problem);
    this.#thread = new ServiceThread({ url, name: "network", what: "network", workerData, onTold });
  }

  /** The thread; all cables are out. `channels`: the cards' names, one for each. */
  static start(networks: readonly NetworkOptions[], channels: readonly string[]): NetworkThread {
    return new NetworkThread(networks, channels);
  }

  /** The cables are plugged in. Rejects with VmError; then they are not. */
  async open(): Promise<void> {
    await this.#thread.ask({ type: "open" });
  }

  /** Of each card, at present. */
  get networks(): readonly NetworkOptions[] {
    return this.#networks;
  }

  /** A card leads to a user network, so that `lead` has somebody to ask. */
  get hasUserNetwork(): boolean {
    return this.#networks.some(({ to }) => to === "user");
  }

  /** A card leads somewhere else. Rejects with VmError; then its cable is out. Precondition: the options are possible. */
  async change(card: number, options: NetworkOptions): Promise<void> {
    this.#networks[card] = { to: "nothing" };
    await this.#thread.ask({ type: "change", card, options });
    this.#networks[card] = options;
    this.#limits[card] = options.limits ?? {};
  }

  /** Precondition: `hasUserNetwork`. One connection to `path` goes on to the guest's port. Rejects with VmError. */
  async lead(path: string, guestPort: number): Promise<void> {
    await this.#thread.ask({ type: "lead", path, guestPort });
  }

  /** Of each card. */
  get limits(): readonly CardLimits[] {
    return this.#limits;
  }

  /** Precondition: there is such a card, and the limits are possible. */
  async limit(card: number, limits: CardLimits): Promise<void> {
    await this.#thread.ask({ type: "limit", card, limits });
    this.#limits[card] = limits;
  }

  async usage(): Promise<readonly CardUsage[]> {
    return (await this.#thread.ask({ type: "usage" })).usage!;
  }

  /** How the machine is woken: ServiceThread. */
  wakes(cells: SharedArrayBuffer, index: number, vcpuCells?: SharedArrayBuffer): void {
    this.#thread.wakes(cells, index, vcpuCells);
  }

  /** The cables are pulled out. Idempotent. */
  close(): Promise<void> {
    return this.#thread.close({ type: "close" });
  }
}
