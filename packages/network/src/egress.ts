/**
 * Where a guest may go. Names are judged when they are resolved: the addresses that an allowed name had are pinned to it, and
 * a connection is judged by address alone, so that nothing that a name means later opens a way. What is not the public
 * Internet (this host, its networks, public ones too, a cloud's metadata) has to be named by its address or a range of its
 * own kind, or as `host`: 0.0.0.0/0 names none of it.
 */
import { bitsInFront, embeddedIpv4, formatIpAddress, IPV4_BYTES, type IpAddress } from "./address.ts";
import { isPartOf, isPublic, isWithin, type Prefix, parsePrefix, specialRange } from "./prefix.ts";

export type EgressMode =
  /** The public Internet, and what the rules name besides. */
  | "public"
  /** What the rules name. */
  | "listed"
  /** Everything, the host's own network included. */
  | "open";

export interface EgressRule {
  readonly target:
    | { readonly kind: "host" }
    | { readonly kind: "prefix"; readonly prefix: Prefix }
    /** With `isWild`: the names below it, not itself. */
    | { readonly kind: "name"; readonly name: string; readonly isWild: boolean };
  /** Undefined: every port. */
  readonly port?: number;
}

export class EgressRuleError extends Error {
  readonly code = "egress-rule";

  constructor(text: string, why: string) {
    super(
      `"${text}" says nothing that a guest could be allowed: ${why}. ` +
        "A rule is HOST or HOST:PORT, where HOST is a name, *.name, an address, an address/length, or host for this host.",
    );
    this.name = "EgressRuleError";
  }
}

/** `HOST[:PORT]`; IPv6 addresses with a port stand in brackets. Throws EgressRuleError. */
export function parseEgressRule(text: string): EgressRule {
  const whole = parsePrefix(text);
  if (whole) return { target: { kind: "prefix", prefix: whole } };
  const match = /^(?:\[(?<bracketed>[^\]]*)\]|(?<plain>[^:]*))(?::(?<port>.*))?$/.exec(text);
  if (!match) throw new EgressRuleError(text, "there is more than one colon");
  const { bracketed, plain = "", port: portText } = match.groups!;
  const port = portText === undefined ? undefined : Number(portText);
  if (port !== undefined && !(/^\d{1,5}$/.test(portText!) && port >= 1 && port <= 65535)) {
    throw new EgressRuleError(text, `"${portText}" is no port from 1 to 65535`);
  }
  const host = (bracketed ?? plain).toLowerCase().replace(/\.$/, "");
  const prefix = parsePrefix(host);
  if (prefix) return { target: { kind: "prefix", prefix }, port };
  if (bracketed !== undefined) throw new EgressRuleError(text, `"${bracketed}" is no address`);
  if (host === "host") return { target: { kind: "host" }, port };
  const isWild = host.startsWith("*.");
  const name = isWild ? host.slice(2) : host;
  if (
    !/^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(name) ||
    name.length > 253
  ) {
    const isForeign = [...host].some((letter) => letter.codePointAt(0)! > 0x7f);
    const hint = isForeign ? ": write it as DNS does, with xn-- in front" : "";
    throw new EgressRuleError(text, `"${host}" is no name${hint}`);
  }
  if (/^[\d.]+$/.test(name)) throw new EgressRuleError(text, `"${name}" is no whole address`);
  return { target: { kind: "name", name, isWild }, port };
}

export interface Verdict {
  readonly isAllowed: boolean;
  /** For people: the rule, or why not. */
  readonly why: string;
  /** The name by which the guest has learnt the address. */
  readonly name?: string;
}

/** Addresses that are remembered, and names of each. */
const MAX_PINS = 4096;
const MAX_NAMES = 16;
/** So long a name's addresses stay open: guests keep them longer than they are told to, and then ask again. */
const PIN_MS = 3_600_000;
/** Ranges without a purpose: one has to be this small to name what is in it. */
const LEAST_RANGE_BITS = 8;
const NO_NETWORKS: readonly Prefix[] = [];

export class Egress {
  readonly #mode: EgressMode;
  readonly #rules: readonly EgressRule[];
  readonly #ownNetworks: () => readonly Prefix[];
  /** An address -> names that had it, and when they were asked for; the least recently resolved first. */
  readonly #pins = new Map<IpAddress, Map<string, number>>();

  /** `ownNetworks`: those that this host is in now, its own addresses included; public ones, too, are no Internet to a guest. */
  constructor(
    mode: EgressMode,
    rules: readonly EgressRule[] = [],
    ownNetworks: () => readonly Prefix[] = () => NO_NETWORKS,
  ) {
    this.#mode = mode;
    this.#rules = rules;
    this.#ownNetworks = ownNetworks;
  }

  #isOutside(address: IpAddress): boolean {
    if (!isPublic(address)) return false;
    const reached = embeddedIpv4(address) ?? address;
    return !this.#ownNetworks().some((network) => isWithin(address, network) || isWithin(reached, network));
  }

  /** The range says something of the address; of one that is not public only as a part of what that one is in. */
  #isMeant(address: IpAddress, range: Prefix, isOpen: boolean): boolean {
    const reached = embeddedIpv4(address) ?? address;
    const own = reachedRange(range);
    if (isOpen) return isWithin(address, range) || isWithin(reached, own);
    if (!isWithin(reached, own)) return false;
    const special = specialRange(reached);
    const kinds = this.#ownNetworks().filter((network) => isWithin(reached, network));
    if (special) kinds.push(special);
    return kinds.length > 0 ? kinds.some((kind) => isPartOf(own, kind)) : own.length >= LEAST_RANGE_BITS;
  }

  /** May the guest ask for the name at all? */
  mayResolve(name: string): boolean {
    return this.#mode !== "listed" || this.#rules.some((rule) => matchesName(rule, name));
  }

  /**
   * The name has these addresses at `nowMs`: answers those that may be told. One that is not public never becomes allowed by a
   * name (rebinding); it has to be named itself.
   */
  pin(name: string, addresses: readonly IpAddress[], nowMs: number): IpAddress[] {
    const told = addresses.filter((address) => this.mayTell(address));
    for (const address of told) {
      const names = this.#pins.get(address) ?? new Map<string, number>();
      names.delete(name);
      names.set(name, nowMs);
      if (names.size > MAX_NAMES) names.delete(names.keys().next().value!);
      this.#pins.delete(address);
      this.#pins.set(address, names);
    }
    while (this.#pins.size > MAX_PINS) this.#pins.delete(this.#pins.keys().next().value!);
    return told;
  }

  /** May the guest be told that something has the address, or how it is called? */
  mayTell(address: IpAddress): boolean {
    return this.#mode === "open" || this.#isOutside(address) || this.#isNamed(address);
  }

  #isNamed(address: IpAddress): boolean {
    return this.#rules.some(({ target }) => target.kind === "prefix" && this.#isMeant(address, target.prefix, false));
  }

  /** May the guest connect, or send a datagram, there at `nowMs`? */
  judge(address: IpAddress, port: number, nowMs: number): Verdict {
    const known = [...(this.#pins.get(address) ?? [])];
    const names = known.filter(([, askedMs]) => nowMs - askedMs <= PIN_MS).map(([name]) => name);
    const name = known.at(-1)?.[0];
    if (this.#mode === "open") return { isAllowed: true, why: "everything is allowed", name };
    const isOpen = this.#isOutside(address);
    for (const rule of this.#rules) {
      if (rule.port !== undefined && rule.port !== port) continue;
      const { target } = rule;
      const byAddress = target.kind === "prefix" && this.#isMeant(address, target.prefix, isOpen);
      const byName = isOpen && target.kind === "name" && names.some((asked) => matchesName(rule, asked));
      if (byAddress || byName) return { isAllowed: true, why: describeRule(rule), name };
    }
    if (!isOpen)
      return {
        isAllowed: false,
        why: `${formatIpAddress(address)} is not on the public Internet, or this host is in its network, and no rule names it`,
        name,
      };
    if (this.#mode === "public") return { isAllowed: true, why: "the public Internet is allowed", name };
    const isOld = known.length > names.length;
    return { isAllowed: false, why: isOld ? `it was ${name}'s longer than an hour ago` : "no rule names it", name };
  }

  /** May the guest reach this port of the host's own loopback address? */
  judgeHost(port: number): Verdict {
    if (this.#mode === "open") return { isAllowed: true, why: "everything is allowed" };
    const rule = this.#rules.find(({ target, port: named }) => target.kind === "host" && (named ?? port) === port);
    return rule
      ? { isAllowed: true, why: describeRule(rule) }
      : { isAllowed: false, why: `this host is not allowed: --allow host:${port} would do it` };
  }
}

/** Of a range of IPv6 addresses that lead to IPv4 ones: those. */
function reachedRange(range: Prefix): Prefix {
  const bits = bitsInFront(range.address);
  const address = embeddedIpv4(range.address);
  if (bits === undefined || address === undefined || range.length < bits) return range;
  return { address, length: Math.min(IPV4_BYTES * 8, range.length - bits) };
}

function matchesName({ target }: EgressRule, name: string): boolean {
  if (target.kind !== "name") return false;
  return target.isWild ? name.endsWith(`.${target.name}`) : name === target.name;
}

/** As it is written in `--allow`. */
export function describeRule({ target, port }: EgressRule): string {
  const tail = port === undefined ? "" : `:${port}`;
  switch (target.kind) {
    case "host":
      return `host${tail}`;
    case "name":
      return `${target.isWild ? "*." : ""}${target.name}${tail}`;
    case "prefix": {
      const { address, length } = target.prefix;
      const text = `${formatIpAddress(address)}${length === address.length * 8 ? "" : `/${length}`}`;
      return port !== undefined && text.includes(":") ? `[${text}]${tail}` : `${text}${tail}`;
    }
  }
}
