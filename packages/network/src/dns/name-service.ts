/**
 * The name server that a guest sees. Addresses are what the host resolves, so its hosts file and resolver count; what is asked
 * for else goes to the host's own name server. Egress rules are kept here, too: names that are not allowed are refused, and
 * addresses that a guest could not reach are left out. GUEST-CONTROLLED: every query, and how many there are.
 */
import type { IpAddress } from "../address.ts";
import type { Egress } from "../egress.ts";
import { type HostUdp, NameError, type NetworkWorld } from "../world.ts";
import {
  addressOfPointer,
  answerMessage,
  isHostName,
  MAX_UDP_BYTES,
  parseQuestion,
  type Question,
  RCODE,
  TYPE,
  truncated,
} from "./message.ts";

export const DNS_PORT = 53;
const MAX_QUESTIONS = 64;
const MAX_ANSWERS = 24;
const FORWARD_LIMIT_MS = 5000;

export interface NameServiceOptions {
  readonly world: NetworkWorld;
  readonly egress: Egress;
  /** Names that mean an address of this network. */
  readonly ownNames: ReadonlyMap<string, readonly IpAddress[]>;
  /** The host's own; undefined: only addresses are answered. */
  readonly nameServer?: IpAddress;
  readonly refused?: (name: string, why: string) => void;
}

/** With these a guest would learn addresses that are not looked at. */
const LEADS_ON: readonly number[] = [TYPE.SVCB, TYPE.HTTPS, TYPE.ANY];

type Answer = (message: Uint8Array) => void;

export class NameService {
  readonly #options: NameServiceOptions;
  #questions = 0;
  #forwarder: HostUdp | undefined;
  readonly #forwarded = new Map<number, { readonly question: Question; readonly answer: Answer }>();

  constructor(options: NameServiceOptions) {
    this.#options = options;
  }

  /** One datagram; the answer is cut to what UDP allows with `isDatagram`. False: there will be none, as it is no query or too much. */
  ask(message: Uint8Array, isDatagram: boolean, answer: Answer): boolean {
    const question = parseQuestion(message);
    if (!question || this.#questions >= MAX_QUESTIONS) return false;
    this.#questions++;
    const done: Answer = (bytes) => {
      this.#questions--;
      answer(isDatagram && bytes.length > MAX_UDP_BYTES ? truncated(question) : bytes);
    };
    const { egress, ownNames, refused } = this.#options;
    const own = ownNames.get(question.name);
    if (own)
      done(
        answerMessage(
          question,
          RCODE.NONE,
          own.filter((address) => address.length === lengthOf(question.type)),
        ),
      );
    else if (!egress.mayResolve(question.name)) {
      refused?.(question.name, "no rule names it");
      done(answerMessage(question, RCODE.REFUSED));
    } else if (lengthOf(question.type) !== undefined) {
      if (isHostName(question.name)) this.#resolve(question, done);
      else done(answerMessage(question, question.name === "" ? RCODE.NONE : RCODE.NO_NAME));
    } else if (LEADS_ON.includes(question.type)) done(answerMessage(question, RCODE.NONE));
    else if (this.#isPrivatePointer(question)) done(answerMessage(question, RCODE.NO_NAME));
    else this.#forward(question, done);
    return true;
  }

  /** What the host's name server calls an address that is not the guest's business. Parts of an address are nobody's. */
  #isPrivatePointer({ name }: Question): boolean {
    if (!/(^|\.)(in-addr|ip6)\.arpa$/.test(name)) return false;
    const address = addressOfPointer(name);
    return address === undefined || !this.#options.egress.mayTell(address);
  }

  async #resolve(question: Question, done: Answer): Promise<void> {
    const { world, egress, refused } = this.#options;
    let reply: Uint8Array;
    try {
      const found = await world.resolve(question.name, question.type === TYPE.A ? 4 : 6);
      const addresses = found.filter((address) => address.length === lengthOf(question.type)).slice(0, MAX_ANSWERS);
      const told = egress.pin(question.name, addresses);
      const isHidden = told.length === 0 && addresses.length > 0;
      if (isHidden)
        refused?.(
          question.name,
          "it leads to an address that is not on the public Internet, or in a network of this host",
        );
      reply = answerMessage(question, isHidden ? RCODE.REFUSED : RCODE.NONE, told);
    } catch (error) {
      reply = answerMessage(question, error instanceof NameError ? RCODES[error.code] : RCODE.FAILURE);
    }
    done(reply);
  }

  #forward(question: Question, done: Answer): void {
    const { world, nameServer } = this.#options;
    if (nameServer === undefined) {
      done(answerMessage(question, RCODE.NOT_IMPLEMENTED));
      return;
    }
    this.#forwarder ??= world.openUdp(nameServer.length === 4 ? 4 : 6, {
      received: (address, port, data) => {
        if (address === nameServer && port === DNS_PORT) this.#forwardedAnswer(data);
      },
      refused: () => {},
    });
    let id = world.randomU32() & 0xffff;
    while (this.#forwarded.has(id)) id = (id + 1) & 0xffff;
    const timer = world.setTimer(FORWARD_LIMIT_MS, () => finish(answerMessage(question, RCODE.FAILURE)));
    const finish: Answer = (bytes) => {
      timer.cancel();
      this.#forwarded.delete(id);
      done(bytes);
    };
    this.#forwarded.set(id, { question, answer: finish });
    const query = new Uint8Array(question.bytes);
    query.set([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // Recursion desired; without EDNS.
    this.#forwarder.send(nameServer, DNS_PORT, query);
  }

  /** HOST-CONTROLLED, and by whoever is on the way there. */
  #forwardedAnswer(data: Uint8Array): void {
    const id = data.length >= 12 ? (data[0]! << 8) | data[1]! : -1;
    const waiting = this.#forwarded.get(id);
    const isAnswer = waiting && (data[2]! & 0x80) !== 0 && sameQuestion(data, waiting.question);
    if (!isAnswer) return;
    const answer = new Uint8Array(data);
    answer.set(waiting.question.bytes.subarray(0, 2));
    waiting.answer(answer);
  }

  close(): void {
    this.#forwarder?.close();
    for (const { question, answer } of [...this.#forwarded.values()]) answer(answerMessage(question, RCODE.FAILURE));
  }
}

function sameQuestion(data: Uint8Array, { bytes }: Question): boolean {
  return data.length >= bytes.length && bytes.subarray(12).every((byte, i) => (byte | 0x20) === (data[12 + i]! | 0x20));
}

/** Of an address that answers a question of the type. */
function lengthOf(type: number): number | undefined {
  return type === TYPE.A ? 4 : type === TYPE.AAAA ? 16 : undefined;
}

const RCODES = { "no-name": RCODE.NO_NAME, "no-address": RCODE.NONE, "no-answer": RCODE.FAILURE } as const;
