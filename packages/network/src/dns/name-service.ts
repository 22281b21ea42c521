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
/** A guest that has no answer by then asks again. */
const ANSWER_LIMIT_MS = 5000;
/** That the host's resolver has at a time; it cannot be told to stop, and may take minutes. */
const MAX_LOOKUPS = 4;

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
type Found = { readonly addresses: readonly IpAddress[] } | { readonly error: unknown };

/** One name and kind of address that is asked for; those who ask for it meanwhile wait for the same answer. */
interface Lookup {
  readonly name: string;
  readonly family: 4 | 6;
  readonly waiting: Set<(found: Found) => void>;
  isUnderWay: boolean;
}

export class NameService {
  readonly #options: NameServiceOptions;
  #questions = 0;
  #isClosed = false;
  /** In the order in which they were asked for. */
  readonly #lookups = new Map<string, Lookup>();
  #underWay = 0;
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

  #resolve(question: Question, done: Answer): void {
    const { world } = this.#options;
    const lookup = this.#lookupFor(question.name, question.type === TYPE.A ? 4 : 6);
    const found = (what: Found): void => {
      timer.cancel();
      done(this.#replyTo(question, what));
    };
    const timer = world.setTimer(ANSWER_LIMIT_MS, () => {
      lookup.waiting.delete(found);
      if (lookup.waiting.size === 0 && !lookup.isUnderWay) this.#lookups.delete(keyOf(lookup));
      done(answerMessage(question, RCODE.FAILURE));
    });
    lookup.waiting.add(found);
    this.#nextLookup();
  }

  #lookupFor(name: string, family: 4 | 6): Lookup {
    const key = keyOf({ name, family });
    const known = this.#lookups.get(key);
    const lookup = known ?? { name, family, waiting: new Set(), isUnderWay: false };
    if (!known) this.#lookups.set(key, lookup);
    return lookup;
  }

  /** In the order in which they were asked for. */
  #nextLookup(): void {
    const { world } = this.#options;
    if (this.#isClosed) return;
    for (const lookup of this.#lookups.values()) {
      if (this.#underWay === MAX_LOOKUPS) return;
      if (lookup.isUnderWay) continue;
      lookup.isUnderWay = true;
      this.#underWay++;
      world.resolve(lookup.name, lookup.family).then(
        (addresses) => this.#finish(lookup, { addresses }),
        (error: unknown) => this.#finish(lookup, { error }),
      );
    }
  }

  #finish(lookup: Lookup, found: Found): void {
    this.#underWay--;
    this.#lookups.delete(keyOf(lookup));
    for (const tell of lookup.waiting) tell(found);
    this.#nextLookup();
  }

  #replyTo(question: Question, found: Found): Uint8Array {
    const { world, egress, refused } = this.#options;
    if ("error" in found) {
      const { error } = found;
      return answerMessage(question, error instanceof NameError ? RCODES[error.code] : RCODE.FAILURE);
    }
    const isAsked = (address: IpAddress): boolean => address.length === lengthOf(question.type);
    const addresses = found.addresses.filter(isAsked).slice(0, MAX_ANSWERS);
    const told = egress.pin(question.name, addresses, world.nowMs());
    const isHidden = told.length === 0 && addresses.length > 0;
    const why = "it leads to an address that is not on the public Internet, or in a network of this host";
    if (isHidden) refused?.(question.name, why);
    return answerMessage(question, isHidden ? RCODE.REFUSED : RCODE.NONE, told);
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
    const timer = world.setTimer(ANSWER_LIMIT_MS, () => finish(answerMessage(question, RCODE.FAILURE)));
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
    this.#isClosed = true;
    this.#forwarder?.close();
    for (const { waiting } of this.#lookups.values()) {
      for (const tell of [...waiting]) tell({ error: undefined });
      waiting.clear();
    }
    for (const { question, answer } of [...this.#forwarded.values()]) answer(answerMessage(question, RCODE.FAILURE));
  }
}

const keyOf = ({ name, family }: Pick<Lookup, "name" | "family">): string => `${name}/${family}`;

function sameQuestion(data: Uint8Array, { bytes }: Question): boolean {
  return data.length >= bytes.length && bytes.subarray(12).every((byte, i) => (byte | 0x20) === (data[12 + i]! | 0x20));
}

/** Of an address that answers a question of the type. */
function lengthOf(type: number): number | undefined {
  return type === TYPE.A ? 4 : type === TYPE.AAAA ? 16 : undefined;
}

const RCODES = { "no-name": RCODE.NO_NAME, "no-address": RCODE.NONE, "no-answer": RCODE.FAILURE } as const;
