/** The entry of the thread that carries the frames of a VM's network cards between their rings and what is at their other ends. */
import { parentPort, workerData } from "node:worker_threads";
import { kickOf } from "../vm/machine-kick.ts";
import type { ServiceReply } from "../vm/service-thread.ts";
import { plainError } from "../vm/vm-error.ts";
import { RingCards } from "./frame-ring.ts";
import { NetworkCard } from "./network-card.ts";
import type {
  NetworkProblem,
  NetworkProblemTold,
  NetworkQuestion,
  NetworkReply,
  NetworkThreadStart,
  ToNetwork,
} from "./network-protocol.ts";

const { networks, ring } = workerData as NetworkThreadStart;
const send = (message: ServiceReply | NetworkProblemTold): void => parentPort!.postMessage(message);
let kick: (() => void) | undefined;
const rings = new RingCards(ring, () => kick?.());
const wake = (): void => rings.wake();
const tell = (problem: NetworkProblem): void => send({ type: "problem", problem });
const cards = networks.map((options, i) => new NetworkCard(options, rings.ends[i]!, wake, tell));

parentPort!.on("message", (message: ToNetwork) => {
  if (message.type === "kick") {
    kick = kickOf(message);
    return;
  }
  const { id } = message;
  answer(message).then(
    (reply) => send({ ...reply, type: "reply", id }),
    (error: unknown) => send({ type: "reply", id, error: plainError(error) }),
  );
});

async function answer(question: NetworkQuestion): Promise<Partial<NetworkReply> | undefined> {
  switch (question.type) {
    case "usage":
      return { usage: cards.map(({ usage }) => usage) };
    case "open":
      for (const card of cards) await card.open();
      wake();
      break;
    case "limit":
      cards[question.card]?.limit(question.limits);
      break;
    case "change":
      await cards[question.card]?.change(question.options);
      wake();
      break;
    case "lead":
      await cards.find(({ userLink }) => userLink)?.userLink?.lead(question.path, question.guestPort);
      break;
    case "close":
      for (const card of cards) card.close();
      break;
  }
  return undefined;
}

async function serve(): Promise<never> {
  for (;;) {
    const { work } = rings;
    let isDone = true;
    for (const card of cards) isDone = card.carry() && isDone;
    if (isDone) await rings.untilWork(work);
    // Sockets have their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

void serve();
