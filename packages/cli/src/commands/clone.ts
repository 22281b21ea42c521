/** `twinmetal clone NAME NEW`: another VM with the same disks, copy-on-write, and the state of one that runs. */
import { defineCommand, type Io } from "../command.ts";
import { disksOf } from "../disk-choice.ts";
import { JSON_FLAG, namedVms, vmNames, whileStarting } from "../named-vms.ts";
import { FORWARD, networksOf, networkText, parseNetwork } from "../network-choice.ts";
import { parseLine } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import { type OptionText, specWords, type VmSpec } from "../vm-library.ts";
import { RUN_OPTIONS } from "./run.ts";

/** What only one VM can have at a time. */
const ONE_VMS = ["forward", "migration-socket", "gdb", "serial", "record", "pcap", "net-log", "autostart"];

export const CLONE = defineCommand({
  name: "clone",
  summary: "make another VM of one that stays, copy-on-write",
  usage: "NAME NEW [options]",
  text: [
    "Both VMs go on from the same disks: what they have in common is stored once, and is only read from then on; what each writes is in its own folder. A disk image given by --disk becomes such a base, too: keep it as it is. A VM that runs is cloned with its state, and stands still for that; the clone goes on from there with its first start. One that is off is cloned with its disks. Out of a sandbox (--sandbox, the kvm engine) what it has written over its image is copied while it stands still; one that writes to a disk of --disk itself is cloned when it is off.",
    `What only one VM can have is not taken over, and told: ${ONE_VMS.map((name) => `--${name}`).join(", ")}, mac= of --net, the path of --vsock. A clone that starts without a state has network addresses of its own, and in the tiny image its name as host name. One with a state goes on with what its guest knows, the original's addresses and host name: at a switch (--net switch=NAME) only one of the two can run, until \`twinmetal kill NEW\` has thrown that state away.`,
    "Status: 0 the clone is there, 125 it is not (the reason is on standard error), 2 bad usage.",
  ],
  options: { forward: FORWARD, json: JSON_FLAG },
  examples: [
    ["twinmetal clone box copy", "then: twinmetal start copy"],
    ["twinmetal clone box copy --forward 2223:22", "reached by another port of this host"],
  ],
  execute: async (io, line) => {
    const [name, to, extra] = vmNames(line) as [string, string?, string?];
    if (to === undefined) throw new UsageError(`how is the clone called? Give its name: twinmetal clone ${name} NEW`);
    if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many: clone takes NAME and NEW.`);
    const vms = namedVms(io);
    const { directory, image, options } = await vms.store.read(name);
    const { values } = parseLine(RUN_OPTIONS, specWords({ image, options }));
    const spec = {
      directory,
      image,
      options: { ...withOwnAddresses(io, withoutOnes(io, options)), ...without(line.texts, "json") },
    } as VmSpec;
    const seen = await whileStarting(io, (hooks) => vms.clone(name, to, { ...hooks, spec, disks: disksOf(values) }));
    const atSwitch = networksOf(values).find((network) => network.to === "switch");
    if (seen.state === "saved" && atSwitch)
      io.stderr.write(
        `twinmetal: ${to} goes on from a state, with the network addresses of ${name}: at the switch ${atSwitch.name} one of them runs at a time. It gets addresses of its own when it starts without that state: twinmetal kill ${to}\n`,
      );
    io.stdout.write(line.values.json ? `${JSON.stringify(seen)}\n` : `${seen.name}: ${seen.state}\n`);
    return 0;
  },
});

/** From its name, as every VM has them that is not told others. */
function withOwnAddresses(io: Io, { net, ...options }: VmSpec["options"]): VmSpec["options"] {
  if (net === undefined || net === true) return options;
  const cards = [net].flat().map((text) => ({ text, network: parseNetwork(text) }));
  if (!cards.some(({ network }) => network?.mac)) return { ...options, net };
  io.stderr.write("twinmetal: not taken over: mac= of --net.\n");
  return {
    ...options,
    net: cards.map(({ text, network }) => (network?.mac ? networkText({ ...network, mac: undefined }) : text)),
  };
}

function without(texts: VmSpec["options"], name: string): VmSpec["options"] {
  return Object.fromEntries(Object.entries(texts).filter(([other]) => other !== name));
}

function withoutOnes(io: Io, options: VmSpec["options"]): VmSpec["options"] {
  const dropped = ONE_VMS.filter((name) => options[name] !== undefined);
  const kept = Object.entries(options).flatMap(([name, value]): [string, OptionText][] => {
    if (dropped.includes(name)) return [];
    if (name === "vsock" && typeof value === "string" && value.includes(",")) {
      dropped.push("vsock");
      return [[name, value.split(",", 1)[0]!]];
    }
    return [[name, value]];
  });
  if (dropped.length > 0)
    io.stderr.write(`twinmetal: not taken over: ${dropped.map((name) => `--${name}`).join(", ")}.\n`);
  return Object.fromEntries(kept);
}
