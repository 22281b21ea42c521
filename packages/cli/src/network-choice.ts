/**
 * `--net WHERE[,model=..][,mac=..][,mtu=..]`: one network card of a VM. What a path holds of commas is its own. `--allow` and
 * `--forward` are about those that lead to a user network.
 */
import { parseEgressRule } from "@twinmetal/network";
import { cardOptions, cardWords } from "./network-card-choice.ts";
import { listOption, option } from "./options.ts";
import { UsageError } from "./usage-error.ts";
import type { ForwardOptions, NetworkOptions } from "./vm-library.ts";
import { takeWordsBehind } from "./words-behind.ts";

const PLANNED = ["tap"];

export const NET = listOption(
  "net",
  "none|user|switch=NAME|socket=PATH|loopback[,...]",
  "A network card; may be repeated. user: a gateway with addresses, names and the Internet, by this host's own sockets; switch=NAME: all VMs of yours on this host with the same NAME; socket=PATH: to the VM that has the same PATH, a Unix socket; loopback: what it sends comes back; none: no card (default). With ,model=virtio (default) or e1000, ,mac=ADDRESS (default: from --name, or else --seed) and ,mtu=N (default 1500); with ,rate=BYTES (a second; such as 1M), ,burst=BYTES, ,latency=MS, ,jitter=MS and ,loss=N% its wire has limits, each way; of user, ,tftp=FOLDER has files for it and ,bootfile=NAME is what its firmware starts. See docs/guide/network.md.",
  parseNetwork,
);

export const ALLOW = listOption(
  "allow",
  "HOST[:PORT]",
  "With --net user: the guest reaches nothing but what is named so; may be repeated. HOST is a name, *.name, an address, address/length, or host for this host; all for everything. Without it: the Internet, but no private networks and not this host.",
  parseAllow,
);

export const FORWARD = listOption(
  "forward",
  "[tcp:|udp:][HOST:]PORT:GUESTPORT",
  "With --net user: connections to this host's PORT (of 127.0.0.1, unless HOST is given) go to the guest's GUESTPORT, datagrams with udp:; may be repeated.",
  parseForward,
  "p",
);

export const NET_LOG = option(
  "net-log",
  "FILE",
  "With --net user: a line of JSON for each connection that the guest tries, allowed or not.",
);

export const PCAP = option("pcap", "FILE", "Frames of the first network card, as Wireshark and tcpdump read them.");

export interface NetworkValues {
  readonly netLog?: string | undefined;
  readonly pcap?: string | undefined;
  readonly net?: readonly (NetworkOptions | undefined)[] | undefined;
  readonly allow?: readonly string[] | undefined;
  readonly forward?: readonly ForwardOptions[] | undefined;
}

/** Of all that were given. Throws UsageError. */
export function networksOf(values: NetworkValues): readonly NetworkOptions[] {
  const { allow, forward, netLog, pcap } = values;
  const given = cardsOf(values);
  if (pcap !== undefined && given.length === 0) {
    throw new UsageError("--pcap is about a network card: give --net, too.");
  }
  const cards = pcap === undefined ? given : given.map((card, i) => (i === 0 ? { ...card, pcap } : card));
  if (!allow && !forward && netLog === undefined) return cards;
  const first = cards.findIndex(({ to }) => to === "user");
  if (first < 0) {
    const what = allow ? "allow" : forward ? "forward" : "net-log";
    throw new UsageError(`--${what} is about a user network: give --net user, too.`);
  }
  const isOpen = allow?.includes("all") ?? false;
  const rules = isOpen ? { egress: "open" as const } : { allow };
  return cards.map((card, i): NetworkOptions => {
    if (card.to !== "user") return card;
    return { ...card, ...rules, ...(i === first && { forwards: forward, log: netLog }) };
  });
}

function cardsOf(values: NetworkValues): readonly NetworkOptions[] {
  const given = values.net ?? [];
  const cards = given.filter((card) => card !== undefined);
  if (cards.length > 0 && cards.length < given.length) {
    throw new UsageError("--net none and a network card exclude each other: leave one out.");
  }
  return cards;
}

function parseAllow(text: string): string {
  if (text === "all") return text;
  try {
    parseEgressRule(text);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  return text;
}

/** `[tcp:|udp:][HOST:]PORT:GUESTPORT`. Throws UsageError. */
export function parseForward(text: string): ForwardOptions {
  const match = /^(?:(?<protocol>tcp|udp):)?(?:(?<host>[^:]+|\[[^\]]+\]):)?(?<from>\d{1,5}):(?<to>\d{1,5})$/.exec(text);
  const { protocol, host, from, to } = match?.groups ?? {};
  const [hostPort, guestPort] = [Number(from), Number(to)];
  const isPort = (port: number): boolean => port >= 1 && port <= 65535;
  if (!isPort(hostPort) || !isPort(guestPort)) {
    throw new UsageError(
      `"${text}" is no forward. Give PORT:GUESTPORT or HOST:PORT:GUESTPORT, like 2222:22, with udp: in front for datagrams.`,
    );
  }
  const ports = { hostAddress: host?.replace(/^\[|\]$/g, ""), hostPort, guestPort };
  return protocol === "udp" ? { protocol, ...ports } : ports;
}

/** Undefined: none. Throws UsageError. */
export function parseNetwork(text: string): NetworkOptions | undefined {
  const ofCard: [key: string, value: string][] = [];
  const where = takeWordsBehind(text, (word) => {
    const [key, value] = word.split(/=(.*)/s) as [string, string | undefined];
    if (value === undefined || !/^[a-z]+$/.test(key)) return false;
    ofCard.unshift([key, value]);
    return true;
  });
  const card = cardOptions(ofCard);
  if (where !== "user" && (card.tftp ?? card.bootFile) !== undefined) {
    throw new UsageError("tftp= and bootfile= go with --net user, whose gateway has the files.");
  }
  if (where === "loopback" || where === "user") return { to: where, ...card };
  const [, name] = /^switch=(.+)$/s.exec(where) ?? [];
  if (name !== undefined) return { to: "switch", name, ...card };
  const [, path] = /^socket=(.+)$/s.exec(where) ?? [];
  if (path !== undefined) return { to: "socket", path, ...card };
  if (where === "none") {
    if (Object.keys(card).length > 0) throw new UsageError("--net none is no network card: leave the rest out.");
    return undefined;
  }
  const [kind = ""] = where.split("=");
  const what = PLANNED.includes(kind) ? `--net ${kind} is not in this version yet.` : `"${where}" is no network.`;
  throw new UsageError(`${what} Possible: none, user, switch=NAME, socket=PATH, loopback.`);
}

/** What parseNetwork reads as the same. */
export function networkText(network: NetworkOptions): string {
  const { to, path, name } = network;
  const where = to === "socket" ? `socket=${path}` : to === "switch" ? `switch=${name}` : to;
  return [where, ...cardWords(network)].join(",");
}

/** The options that give a VM these networks again, each with a blank before it, for a shell: rules and forwards, too. */
export function networkOptionsText(networks: readonly NetworkOptions[]): string {
  const user = networks.filter(({ to }) => to === "user");
  const {
    allow,
    egress,
    forwards = [],
    log,
  } = user.find((card) => card.allow || card.egress || card.forwards || card.log) ?? {};
  const rules = egress === "open" ? ["all"] : (allow ?? []);
  const words = [
    ...networks.map((network) => `--net ${networkText(network)}`),
    ...rules.map((rule) => `--allow '${rule}'`),
    ...forwards.map((forward) => `--forward ${forwardText(forward)}`),
    ...(log === undefined ? [] : [`--net-log ${log}`]),
  ];
  return words.map((word) => ` ${word}`).join("");
}

function forwardText({ protocol, hostAddress, hostPort, guestPort }: ForwardOptions): string {
  const host = hostAddress?.includes(":") ? `[${hostAddress}]` : hostAddress;
  return `${protocol === "udp" ? "udp:" : ""}${host === undefined ? "" : `${host}:`}${hostPort}:${guestPort}`;
}

/** The sockets that cards lead to. `switchSocket`: of the switch of a name. */
export function networkSockets(
  networks: readonly NetworkOptions[],
  switchSocket: (name: string) => string,
): readonly string[] {
  return networks.flatMap(({ path, name }) => path ?? (name === undefined ? [] : switchSocket(name)));
}
