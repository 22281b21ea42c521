/**
 * The entry of the thread that carries the frames of a VM's network cards between the rings (frame-ring.ts) and what is at
 * the other end of each: a socket, a user network, or the card itself.
 */
import { parentPort, workerData } from "node:worker_threads";
import { kickOf } from "../vm/machine-kick.ts";
import type { ServiceReply } from "../vm/service-thread.ts";
import { plainError } from "../vm/vm-error.ts";
import { type CardEnd, RingCards } from "./frame-ring.ts";
import type { NetworkOptions, NetworkThreadStart, ToNetwork } from "./network-protocol.ts";
import { Capture } from "./network-records.ts";
import { type Link, SocketLink } from "./socket-link.ts";
import { UserLink } from "./user-link.ts";

/** Of one card, before another one's turn. */
const MAX_FRAMES = 256;

interface Card {
  readonly end: CardEnd;
  capture: Capture | undefined;
  readonly options: NetworkOptions;
  link: Link | undefined;
  /** Taken, and refused by the link: the next to be sent. */
  waiting: Uint8Array | undefined;
}

const { networks, ring } = workerData as NetworkThreadStart;
const send = (message: ServiceReply): void => parentPort!.postMessage(message);
let kick: (() => void) | undefined;
const rings = new RingCards(ring, () => kick?.());
const cards: readonly Card[] = networks.map((options, i) => ({
  options,
  end: rings.ends[i]!,
  capture: undefined,
  link: undefined,
  waiting: undefined,
}));

parentPort!.on("message", (message: ToNetwork) => {
  switch (message.type) {
    case "kick":
      kick = kickOf(message);
      break;
    case "open":
      reply(message.id, open());
      break;
    case "lead":
      reply(message.id, lead(message.path, message.guestPort));
      break;
    case "close":
      for (const { link, capture } of cards) {
        link?.close();
        capture?.close();
      }
      send({ type: "reply", id: message.id });
      break;
  }
});

function reply(id: number, done: Promise<void>): void {
  done.then(
    () => send({ type: "reply", id }),
    (error: unknown) => send({ type: "reply", id, error: plainError(error) }),
  );
}

async function lead(path: string, guestPort: number): Promise<void> {
  const network = cards.map(({ link }) => link).find((link) => link instanceof UserLink);
  await network?.lead(path, guestPort);
}

async function open(): Promise<void> {
  for (const card of cards) {
    if (card.options.pcap !== undefined) card.capture = new Capture(card.options.pcap);
    card.link = await linkOf(card);
    if (card.options.to === "loopback") card.end.setUp(true);
  }
  rings.wake();
}

async function linkOf(card: Card): Promise<Link | undefined> {
  const { end, options } = card;
  const deliver = (frame: Uint8Array, segmentBytes = 0): boolean => {
    const isTaken = end.deliver(frame, segmentBytes);
    if (isTaken) card.capture?.add(frame);
    return isTaken;
  };
  const events = {
    deliver,
    hasRoom: (frameBytes: number) => end.hasRoom(frameBytes),
    takeOffloads: () => end.takeOffloads(),
    takesLarge: () => end.takesLarge,
    setUp: (isUp: boolean) => end.setUp(isUp),
    ready: () => rings.wake(),
  };
  if (options.to === "socket") return await SocketLink.open(options.path!, events);
  if (options.to === "user") return await UserLink.open(options, events);
  return options.to === "loopback" ? loopback(deliver) : undefined;
}

/** Its frames wait for room in the same ring as all others. */
function loopback(deliver: (frame: Uint8Array) => boolean): Link {
  return { send: (frame) => deliver(frame), resume: () => {}, close: () => {} };
}

/** False: there is more. */
function carry(card: Card): boolean {
  card.link?.resume();
  for (let i = 0; i < MAX_FRAMES; i++) {
    const frame = card.waiting ?? card.end.take();
    if (!frame) return true;
    if (!card.waiting) card.capture?.add(frame);
    card.waiting = undefined;
    if (card.link === undefined || card.link.send(frame, card.end.isOffloaded)) continue;
    card.waiting = frame;
    return true;
  }
  return false;
}

async function serve(): Promise<never> {
  for (;;) {
    const { work } = rings;
    let isDone = true;
    for (const card of cards) isDone = carry(card) && isDone;
    if (isDone) await rings.untilWork(work);
    // Sockets have their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

void serve();
