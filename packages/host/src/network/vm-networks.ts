/**
 * A VM's network cards as its options name them: what the machine's spec says of them, and the thread that carries their
 * frames. Card n is the device "netN" of the spec; what is at the other end is the host's business and in no saved state.
 */
import { createHash } from "node:crypto";
import { type DeviceSpec, isNetworkCard, type MachineSpec, macBytes } from "@twinmetal/core";
import { parseEgressRule } from "@twinmetal/network";
import type { KnownCardRoms } from "../vm/boot-files.ts";
import { VmError } from "../vm/vm-error.ts";
import { checkLimits } from "./card-limits.ts";
import { NETWORK_MODELS, type NetworkOptions } from "./network-protocol.ts";
import { NetworkThread } from "./network-thread.ts";
import { checkSwitchName } from "./switch-socket.ts";

const MAX_CARDS = 8;
const DEFAULT_MTU = 1500;
/** Of BOOTP's field, with the zero at its end. */
const MAX_BOOT_FILE_BYTES = 127;
const OTHER_ENDS = ["loopback", "socket", "switch", "nothing", "user"] as const;

/** `bays`: room for so many more. Throws VmError. */
export function checkNetworks(networks: readonly NetworkOptions[], bays = 0): void {
  if (!Number.isInteger(bays) || bays < 0)
    throw new VmError("bad-option", `A VM cannot have ${bays} bays for network cards. Give 0 to ${MAX_CARDS}.`);
  const count = networks.length + bays;
  if (count > MAX_CARDS)
    throw new VmError("bad-option", `A VM cannot have ${count} network cards. Give at most ${MAX_CARDS}.`);
  for (const { to, path, name, allow, tftp, bootFile, model, mac, limits } of networks) {
    if (!OTHER_ENDS.includes(to)) {
      throw new VmError("bad-option", `A network cannot lead to ${JSON.stringify(to)}. Give ${OTHER_ENDS.join(", ")}.`);
    }
    if ((to === "socket") !== (path !== undefined && path !== "")) {
      throw new VmError("bad-option", "A network has the path of a socket where it leads to one, and only there.");
    }
    if (to === "switch") checkSwitchName(name);
    else if (name !== undefined)
      throw new VmError("bad-option", "A network has a name where it leads to a switch, and only there.");
    if (to !== "user" && (tftp ?? bootFile) !== undefined) {
      throw new VmError(
        "bad-option",
        "A network has files for its guest's start where it leads to 'user', and only there.",
      );
    }
    if (bootFile !== undefined && (bootFile === "" || Buffer.byteLength(bootFile) > MAX_BOOT_FILE_BYTES)) {
      throw new VmError("bad-option", `The name of what is started has 1 to ${MAX_BOOT_FILE_BYTES} bytes.`);
    }
    if (model !== undefined && !NETWORK_MODELS.includes(model)) {
      const known = NETWORK_MODELS.join(", ");
      throw new VmError("bad-option", `There is no network card ${JSON.stringify(model)}. Give ${known}.`);
    }
    if (mac !== undefined && macBytes(mac) === undefined) {
      throw new VmError(
        "bad-option",
        `${JSON.stringify(mac)} is no network card's address. Give six bytes like 52:54:00:12:34:56, the first of them even.`,
      );
    }
    for (const rule of allow ?? []) checkRule(rule);
    checkLimits(limits ?? {});
  }
}

function checkRule(rule: string): void {
  try {
    parseEgressRule(rule);
  } catch (cause) {
    throw new VmError("bad-option", (cause as Error).message, { cause });
  }
}

export interface NetworkNames {
  /** The VM's name, or else its seed, which the addresses follow from. */
  readonly identity: string;
  /** What firmware starts from them with. */
  readonly roms?: KnownCardRoms | undefined;
  /** Room for so many more, behind them. */
  readonly bays?: number | undefined;
}

export function networkDevices(
  networks: readonly NetworkOptions[],
  { identity, roms = {}, bays = 0 }: NetworkNames,
): DeviceSpec[] {
  const cards = networks.map(({ model, mac, mtu = DEFAULT_MTU }, index): DeviceSpec => {
    const kind = model === "e1000" ? "e1000" : "virtio-net";
    const rom = roms[kind]?.reference;
    return { kind, name: nameOf(index), mac: mac ?? defaultMac(identity, index), mtu, ...(rom ? { rom } : {}) };
  });
  const room = inBays(bays).map((_network, bay): DeviceSpec => {
    const index = networks.length + bay;
    const card = { name: nameOf(index), mac: defaultMac(identity, index), mtu: DEFAULT_MTU };
    return { kind: "virtio-net", ...card, isInBay: true };
  });
  return [...cards, ...room];
}

/** Undefined: the machine has no network card. Whoever gets it opens and closes it. */
export function startNetworks(given: readonly NetworkOptions[], bays = 0): NetworkThread | undefined {
  const networks = [...given, ...inBays(bays)];
  if (networks.length === 0) return undefined;
  return NetworkThread.start(
    networks,
    networks.map((_network, index) => nameOf(index)),
  );
}

function inBays(count: number): readonly NetworkOptions[] {
  return Array.from({ length: count }, () => ({ to: "nothing" }) as const);
}

/**
 * For a machine that exists: the networks are those of the spec's cards, in their order; the cables of cards for which there
 * is none stay out. Throws VmError where there are more.
 */
export function networksOfSpec(spec: MachineSpec, networks: readonly NetworkOptions[] = []): NetworkThread | undefined {
  checkNetworks(networks);
  const cards = spec.devices.filter(isNetworkCard);
  if (networks.length > cards.length) {
    const has = cards.length === 1 ? "1 network card" : `${cards.length || "no"} network cards`;
    throw new VmError(
      "bad-option",
      `The VM has ${has}, and ${networks.length} networks were named. Leave the rest out.`,
    );
  }
  if (cards.length === 0) return undefined;
  return NetworkThread.start(
    cards.map((_card, index): NetworkOptions => networks[index] ?? { to: "nothing" }),
    cards.map(({ name }) => name),
  );
}

/** One that its owner has made up: locally administered, and not of a group. */
export function defaultMac(identity: string, index: number): string {
  const digest = createHash("sha256").update(`network card ${index} of ${identity}`).digest();
  return [2, ...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

const nameOf = (index: number): string => `net${index}`;
