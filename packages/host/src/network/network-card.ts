/**
 * One card between its rings (frame-ring.ts) and what is at the other end (`Link`): a capture of its frames, and a wire each way
 * that may have limits. Without limits a frame goes from one to the other and is copied by nobody.
 */
import { ShapedWire, type WireLimits } from "@twinmetal/network";
import type { CardEnd } from "./frame-ring.ts";
import type { Link } from "./link.ts";
import type { CardLimits, CardUsage, NetworkOptions, NetworkProblem } from "./network-protocol.ts";
import { Capture } from "./network-records.ts";
import { NodeNetworkWorld } from "./node-network-world.ts";
import { SocketLink } from "./socket-link.ts";
import { SwitchLink } from "./switch-link.ts";
import { UserLink, type UserLinkEvents } from "./user-link.ts";

/** Of one card, before another one's turn. */
const MAX_FRAMES = 256;

export class NetworkCard {
  #options: NetworkOptions;
  readonly #end: CardEnd;
  readonly #ready: () => void;
  readonly #problem: (problem: NetworkProblem) => void;
  readonly #toGuest: ShapedWire<number>;
  readonly #fromGuest: ShapedWire<boolean>;
  #capture: Capture | undefined;
  #link: Link | undefined;
  /** The link takes what is offloaded. */
  #takesOffloads = false;
  #isLimited = false;
  readonly #usage = { sentFrames: 0, sentBytes: 0, receivedFrames: 0, receivedBytes: 0 };
  /** Taken, and refused by the link: the next to be sent. */
  #waiting: Uint8Array | undefined;

  /** `ready`: `carry` has something to do again. */
  constructor(
    options: NetworkOptions,
    end: CardEnd,
    ready: () => void,
    problem: (problem: NetworkProblem) => void = () => {},
  ) {
    this.#options = options;
    this.#problem = problem;
    this.#end = end;
    this.#ready = ready;
    const world = new NodeNetworkWorld();
    this.#toGuest = new ShapedWire({ world, ready, deliver: (frame, size) => this.#deliver(frame, size) });
    this.#fromGuest = new ShapedWire({ world, ready, deliver: (frame, is) => this.#link?.send(frame, is) ?? true });
    this.limit(options.limits ?? {});
  }

  /** Undefined: it leads to no user network. */
  get userLink(): UserLink | undefined {
    return this.#link instanceof UserLink ? this.#link : undefined;
  }

  get usage(): CardUsage {
    return this.#usage;
  }

  /** The cable leads somewhere else. Rejects with VmError; then it is out. */
  async change(options: NetworkOptions): Promise<void> {
    this.#link?.close();
    this.#capture?.close();
    this.#link = undefined;
    this.#capture = undefined;
    this.#waiting = undefined;
    this.#takesOffloads = false;
    this.#end.setUp(false);
    this.#options = options;
    this.limit(options.limits ?? {});
    await this.open();
  }

  /** The cable is plugged in. Rejects with VmError. */
  async open(): Promise<void> {
    const { to, path, name, pcap } = this.#options;
    if (pcap !== undefined) this.#capture = new Capture(pcap, this.#problem);
    const events: UserLinkEvents = {
      deliver: (frame, segmentBytes = 0) => this.#receive(frame, segmentBytes),
      hasRoom: (frameBytes) => this.#end.hasRoom(frameBytes) && (this.#toGuest.isPlain || this.#toGuest.hasRoom()),
      takeOffloads: () => {
        this.#takesOffloads = true;
        this.#offerOffloads();
      },
      takesLarge: () => this.#end.takesLarge && !this.#isLimited,
      setUp: (isUp) => this.#end.setUp(isUp),
      ready: this.#ready,
      problem: this.#problem,
    };
    if (to === "socket") this.#link = await SocketLink.open(path!, events);
    else if (to === "switch") this.#link = await SwitchLink.open(name!, events);
    else if (to === "user") this.#link = await UserLink.open(this.#options, events);
    else if (to === "loopback") this.#link = loopback(events);
  }

  limit({ toGuest = {}, fromGuest = {} }: CardLimits): void {
    const hasAny = (limits: WireLimits): boolean => Object.values(limits).some((value) => value !== undefined);
    this.#isLimited = hasAny(toGuest) || hasAny(fromGuest);
    this.#offerOffloads();
    this.#toGuest.limits = toGuest;
    this.#fromGuest.limits = fromGuest;
  }

  /** Frames on a wire with limits are as large as a wire's. */
  #offerOffloads(): void {
    this.#end.setTakesOffloads(this.#takesOffloads && !this.#isLimited);
  }

  #receive(frame: Uint8Array, segmentBytes: number): boolean {
    if (this.#toGuest.isPlain) return this.#deliver(frame, segmentBytes);
    return this.#toGuest.push(frame.slice(), segmentBytes);
  }

  #deliver(frame: Uint8Array, segmentBytes: number): boolean {
    const isTaken = this.#end.deliver(frame, segmentBytes);
    if (!isTaken) return false;
    this.#capture?.add(frame);
    this.#usage.receivedFrames++;
    this.#usage.receivedBytes += frame.length;
    return true;
  }

  /** Frames go on, both ways. False: there is more. */
  carry(): boolean {
    this.#toGuest.pump();
    this.#fromGuest.pump();
    this.#link?.resume();
    for (let i = 0; i < MAX_FRAMES; i++) {
      const frame = this.#waiting ?? this.#end.take();
      if (!frame) return true;
      if (!this.#waiting) {
        this.#capture?.add(frame);
        this.#usage.sentFrames++;
        this.#usage.sentBytes += frame.length;
      }
      this.#waiting = undefined;
      if (this.#send(frame)) continue;
      this.#waiting = frame;
      return true;
    }
    return false;
  }

  /** A wire that is full loses what it is given: the guest would stand still for it. */
  #send(frame: Uint8Array): boolean {
    if (this.#fromGuest.isPlain) return this.#link?.send(frame, this.#end.isOffloaded) ?? true;
    this.#fromGuest.push(frame.slice(), this.#end.isOffloaded);
    return true;
  }

  close(): void {
    this.#toGuest.close();
    this.#fromGuest.close();
    this.#link?.close();
    this.#capture?.close();
  }
}

/** Its frames wait for room in the same ring as all others. */
function loopback({ deliver, setUp }: UserLinkEvents): Link {
  setUp(true);
  return { send: (frame) => deliver(frame), resume: () => {}, close: () => {} };
}
