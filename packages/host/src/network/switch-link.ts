/**
 * A card at a switch between VMs of one host. Whoever finds no switch makes it (switch-server.ts) in this very thread; when the
 * VM that has it ends, those that were joined to it look again, and one of them makes the next. Meanwhile frames are lost; the
 * cable stays in for a moment.
 *
 *   look --there is one--> member --lost--> look          look --nobody--> host --replaced--> look
 */
import type { Socket } from "node:net";
import type { SwitchPort } from "@twinmetal/network";
import { VmError } from "../vm/vm-error.ts";
import { FrameSocket } from "./frame-socket.ts";
import type { Link, LinkEvents } from "./link.ts";
import { OTHER_NAME_BYTES, SwitchServer } from "./switch-server.ts";
import { switchSocket } from "./switch-socket.ts";
import { connected, MAX_PATH_BYTES } from "./unix-socket.ts";

/** Members do not look all at once. */
const LOOK_MS = 50;
const LOOK_AGAIN_MS = 250;
/** So long nobody is told that there is no switch. */
const GRACE_MS = 1500;
const NOBODY: readonly string[] = ["ENOENT", "ECONNREFUSED"];
/** For a card that has no room. */
const MAX_WAITING_BYTES = 1 << 20;

export class SwitchLink implements Link {
  readonly #path: string;
  readonly #events: LinkEvents;
  /** A port of the switch, where that is in this thread. */
  readonly #port: SwitchPort = { send: (frame) => this.#receive(frame) };
  #member: FrameSocket | undefined;
  #server: SwitchServer | undefined;
  #isClosed = false;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #joinedMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #grace: NodeJS.Timeout | undefined;

  private constructor(path: string, events: LinkEvents) {
    this.#path = path;
    this.#events = events;
  }

  /** Rejects with VmError where there is no switch and none can be made. */
  static async open(name: string, events: LinkEvents): Promise<SwitchLink> {
    const path = switchSocket(name);
    if (Buffer.byteLength(path) > MAX_PATH_BYTES - OTHER_NAME_BYTES) {
      throw new VmError("bad-option", `${path} is too long for a socket. Set XDG_RUNTIME_DIR to a shorter path.`);
    }
    const link = new SwitchLink(path, events);
    const error = await link.#look();
    if (!error) return link;
    throw new VmError("network-socket", `The switch ${name} cannot be joined: ${error.message}.`, { cause: error });
  }

  send(frame: Uint8Array): boolean {
    if (this.#member) return this.#member.send(frame);
    this.#server?.receive(this.#port, frame);
    return true;
  }

  resume(): void {
    while (this.#waiting.length > 0) {
      if (!this.#events.deliver(this.#waiting[0]!)) return;
      this.#waitingBytes -= this.#waiting.shift()!.length;
    }
    this.#member?.resume();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#grace);
    this.#member?.close();
    this.#server?.close();
  }

  /** Undefined: it is at a switch. */
  async #look(): Promise<Error | undefined> {
    let found: Socket | SwitchServer | Error = await connected(this.#path);
    if (found instanceof Error && NOBODY.includes((found as NodeJS.ErrnoException).code ?? "")) {
      found = await SwitchServer.open(this.#path, () => {
        this.#server = undefined;
        this.#lost();
      });
    }
    if (found instanceof Error) return found;
    if (found instanceof SwitchServer) {
      this.#server = found;
      found.attach(this.#port);
    } else this.#join(found);
    if (this.#isClosed) this.close();
    else this.#joined();
    return undefined;
  }

  #join(socket: Socket): void {
    this.#member = new FrameSocket(socket, {
      deliver: (frame) => this.#waiting.length === 0 && this.#events.deliver(frame),
      drained: () => this.#events.ready(),
      lost: () => {
        this.#member = undefined;
        this.#events.ready();
        this.#lost();
      },
    });
  }

  #joined(): void {
    clearTimeout(this.#grace);
    this.#grace = undefined;
    this.#joinedMs = performance.now();
    this.#events.setUp(true);
  }

  #lost(): void {
    if (this.#isClosed) return;
    this.#grace ??= setTimeout(() => this.#events.setUp(false), GRACE_MS);
    // One that is turned away at once is at a switch that is full.
    const wasJoined = performance.now() - this.#joinedMs > LOOK_AGAIN_MS;
    this.#lookAfter(wasJoined ? Math.random() * LOOK_MS : LOOK_AGAIN_MS);
  }

  #lookAfter(afterMs: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      void this.#look().then((error) => {
        if (error) this.#lookAfter(LOOK_AGAIN_MS);
      });
    }, afterMs);
  }

  /** From the switch in this thread, which does not wait. */
  #receive(frame: Uint8Array): void {
    if (this.#waiting.length === 0 && this.#events.deliver(frame)) return;
    if (this.#waitingBytes + frame.length > MAX_WAITING_BYTES) return;
    this.#waiting.push(frame.slice());
    this.#waitingBytes += frame.length;
  }
}
