/** What `--net` says of a card behind its other end: `,model=`, `,mac=`, and how fast, long and bad its wire is. */
import { macBytes, NETWORK_LIMITS } from "@twinmetal/core";
import { WIRE_LIMITS, type WireLimits } from "@twinmetal/network";
import { parseSize } from "./quantities.ts";
import { UsageError } from "./usage-error.ts";
import type { NetworkOptions } from "./vm-library.ts";

const MODELS = ["virtio", "e1000"] as const;

export type CardOptions = Pick<NetworkOptions, "model" | "mac" | "mtu" | "limits" | "tftp" | "bootFile">;

/** Of the wire, both ways. */
const WIRE_WORDS: Readonly<Record<string, (text: string) => WireLimits>> = {
  rate: (text) => ({ bytesPerSecond: within("bytesPerSecond", parseSize(text), `a rate of ${text} bytes a second`) }),
  burst: (text) => ({ burstBytes: within("burstBytes", parseSize(text), `a burst of ${text}`) }),
  latency: (text) => ({ latencyMs: within("latencyMs", numberOf(text), `a latency of ${text} milliseconds`) }),
  jitter: (text) => ({ jitterMs: within("jitterMs", numberOf(text), `a jitter of ${text} milliseconds`) }),
  loss: (text) => ({ loss: within("loss", percentOf(text), `a loss of ${text}`) }),
};

export const WIRE_LIMIT_WORDS: readonly string[] = Object.keys(WIRE_WORDS);

const WIRE_NAMES: Readonly<Record<string, keyof WireLimits>> = {
  rate: "bytesPerSecond",
  burst: "burstBytes",
  latency: "latencyMs",
  jitter: "jitterMs",
  loss: "loss",
};

/** Undefined: it is no limit's word. */
export function wireLimitName(key: string): keyof WireLimits | undefined {
  return Object.hasOwn(WIRE_NAMES, key) ? WIRE_NAMES[key] : undefined;
}

/** Undefined: it is no limit's word. Throws UsageError. */
export function wireLimitOf(key: string, value: string): WireLimits | undefined {
  return Object.hasOwn(WIRE_WORDS, key) ? WIRE_WORDS[key]!(value) : undefined;
}

const CARD_WORDS: Readonly<Record<string, (text: string) => CardOptions>> = {
  model: (text) => ({ model: modelOf(text) }),
  mac: (text) => ({ mac: macOf(text) }),
  mtu: (text) => ({ mtu: mtuOf(text) }),
  tftp: (text) => ({ tftp: text }),
  bootfile: (text) => ({ bootFile: text }),
};

/** Of words like `mtu=9000`. Throws UsageError. */
export function cardOptions(words: readonly (readonly [key: string, value: string])[]): CardOptions {
  let card: CardOptions = {};
  let wire: WireLimits | undefined;
  for (const [key, value] of words) {
    if (Object.hasOwn(CARD_WORDS, key)) card = { ...card, ...CARD_WORDS[key]!(value) };
    else if (Object.hasOwn(WIRE_WORDS, key)) wire = { ...wire, ...WIRE_WORDS[key]!(value) };
    else {
      const known = [...Object.keys(CARD_WORDS), ...Object.keys(WIRE_WORDS)].map((word) => `${word}=`).join(", ");
      throw new UsageError(`"${key}=${value}" is nothing that a network card has. Possible: ${known}.`);
    }
  }
  if (!wire) return card;
  if (wire.burstBytes !== undefined && wire.bytesPerSecond === undefined) {
    throw new UsageError("burst= goes with rate=: give that, too.");
  }
  if ((wire.jitterMs ?? 0) > (wire.latencyMs ?? 0)) {
    throw new UsageError("A latency cannot vary by more than itself: give latency= as much as jitter= at least.");
  }
  return { ...card, limits: { toGuest: wire, fromGuest: wire } };
}

/** What cardOptions reads as the same. */
export function cardWords({ model, mac, mtu, tftp, bootFile, limits }: CardOptions): string[] {
  const { bytesPerSecond, burstBytes, latencyMs, jitterMs, loss } = limits?.toGuest ?? {};
  const values = {
    model,
    mac,
    mtu,
    tftp,
    bootfile: bootFile,
    rate: bytesPerSecond,
    burst: burstBytes,
    latency: latencyMs,
    jitter: jitterMs,
    loss: loss === undefined ? undefined : `${Number((loss * 100).toFixed(6))}%`,
  };
  return Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]));
}

function modelOf(text: string): (typeof MODELS)[number] {
  const model = MODELS.find((known) => known === text);
  if (model !== undefined) return model;
  throw new UsageError(`there is no network card "${text}". Possible: ${MODELS.join(", ")}.`);
}

function macOf(text: string): string {
  const mac = text.toLowerCase();
  if (macBytes(mac) !== undefined) return mac;
  throw new UsageError(`"${text}" is no network card's address. Give one like 52:54:00:12:34:56, the first byte even.`);
}

function mtuOf(text: string): number {
  const { minMtu, maxMtu } = NETWORK_LIMITS;
  const mtu = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (mtu >= minMtu && mtu <= maxMtu) return mtu;
  throw new UsageError(`"${text}" is no MTU: give ${minMtu} to ${maxMtu}.`);
}

function numberOf(text: string): number {
  return /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
}

function percentOf(text: string): number {
  return text.endsWith("%") ? numberOf(text.slice(0, -1)) / 100 : Number.NaN;
}

/** Throws UsageError. */
function within(name: keyof typeof WIRE_LIMITS, value: number, what: string): number {
  const [least, most] = WIRE_LIMITS[name];
  if (value >= least && value <= most) return value;
  const range = name === "loss" ? "0% to 100%, with the sign" : `${least} to ${most}`;
  throw new UsageError(`A network has no ${what.slice(2)}: give ${range}.`);
}
