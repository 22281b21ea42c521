/**
 * A switch (packages/network) at a Unix socket: whoever connects has a port of it. Frames go through the socket as between two
 * VMs (frame-stream.ts), so QEMU can join as well.
 *
 * The socket is made under another name and renamed, so that there is a switch behind the name whenever there is one. Where two
 * make one at once, the one that was renamed last stands; the other one sees that, and ends.
 */
import { randomBytes } from "node:crypto";
import { lstatSync, renameSync, unlinkSync } from "node:fs";
import type { Server, Socket } from "node:net";
import { EthernetSwitch, type SwitchPort } from "@twinmetal/network";
import { FrameSocket } from "./frame-socket.ts";
import { connected, listening } from "./unix-socket.ts";

const RANDOM_BYTES = 4;
/** What the socket's first name has more than its last one. */
export const OTHER_NAME_BYTES = 1 + 2 * RANDOM_BYTES;
/** Whether the socket is still behind its name is looked at so often. */
const LOOK_MS = 500;

export class SwitchServer {
  readonly #path: string;
  readonly #switch = new EthernetSwitch({ nowMs: () => performance.now() });
  readonly #members = new Set<FrameSocket>();
  readonly #replaced: () => void;
  #server: Server | undefined;
  #file: bigint | undefined;
  #look: NodeJS.Timeout | undefined;

  private constructor(path: string, replaced: () => void) {
    this.#path = path;
    this.#replaced = replaced;
  }

  /** A socket: somebody else has been quicker, and this is a port there. `replaced`: the switch is over, and another is there. */
  static async open(path: string, replaced: () => void): Promise<SwitchServer | Socket | Error> {
    const made = new SwitchServer(path, replaced);
    const otherName = `${path}.${randomBytes(RANDOM_BYTES).toString("hex")}`;
    const server = await listening(otherName, (socket) => made.#accept(socket));
    if (server instanceof Error) return server;
    made.#server = server;
    const other = await connected(path);
    try {
      if (!(other instanceof Error)) {
        made.close();
        return other;
      }
      if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) {
        made.close();
        return new Error(`${path} is no socket`);
      }
      made.#file = fileOf(otherName);
      renameSync(otherName, path);
    } catch (error) {
      made.close();
      return error as Error;
    }
    made.#look = setInterval(() => made.#lookAtName(), LOOK_MS).unref();
    return made;
  }

  /** Of the VM that the switch is in. False: it has all the ports that it can have. */
  attach(port: SwitchPort): boolean {
    return this.#switch.attach(port);
  }

  receive(from: SwitchPort, frame: Uint8Array): void {
    this.#switch.receive(from, frame);
  }

  #accept(socket: Socket): void {
    const port: SwitchPort = { send: (frame) => member.post(frame) };
    const member = new FrameSocket(socket, {
      deliver: (frame) => {
        this.#switch.receive(port, frame);
        return true;
      },
      drained: () => {},
      lost: () => {
        this.#switch.detach(port);
        this.#members.delete(member);
      },
    });
    if (this.#server && this.#switch.attach(port)) this.#members.add(member);
    else member.close();
  }

  #lookAtName(): void {
    if (fileOf(this.#path) === this.#file) return;
    this.#file = undefined;
    this.close();
    this.#replaced();
  }

  /** Its members look for another one. Idempotent. */
  close(): void {
    clearInterval(this.#look);
    if (this.#file !== undefined && fileOf(this.#path) === this.#file) unlinkSync(this.#path);
    this.#file = undefined;
    this.#server?.close();
    this.#server = undefined;
    for (const member of this.#members) member.close();
    this.#members.clear();
  }
}

function fileOf(path: string): bigint | undefined {
  return lstatSync(path, { throwIfNoEntry: false, bigint: true })?.ino;
}
