/**
 * `twinmetal eject VM DISK` and `twinmetal insert VM DISK IMAGE`: discs of a running VM's CD drives, and disks and network cards in its
 * bays.
 */
import { resolve } from "node:path";
import { defineCommand } from "../command.ts";
import { ALLOW, FORWARD, NET_LOG, type NetworkValues, networksOf, parseNetwork } from "../network-choice.ts";
import { flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import type { PlugNetwork } from "../vm-library.ts";

const NETWORK_OPTIONS = { allow: ALLOW, forward: FORWARD, netLog: NET_LOG };
const OPTIONS = { force: flag("force", "Open the tray though the guest has locked it.") };
const VM_TEXT =
  "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --migration-socket SOCKET. DISK is the name of the drive or bay: disks and discs of the command line are disk0, disk1, and so on, the disks first, and bays (--disk-bays) last; network cards are net0, net1, and so on, bays (--net-bays) last.";
const isCard = (name: string): boolean => /^net\d+$/.test(name);
const STATUS_TEXT =
  "Status: 0 it is done, 125 it failed (the reason is on standard error; a tray that the guest has locked is one), 2 bad usage.";

export const EJECT = defineCommand({
  name: "eject",
  summary: "take a disc out of a CD drive of a running VM, or a disk or network card out of a bay",
  usage: "VM DISK [--force]",
  text: [
    VM_TEXT,
    "What is in a bay leaves when the guest has let it go, for which 30 seconds are waited. Unmount a disk in the guest before.",
    STATUS_TEXT,
  ],
  options: OPTIONS,
  examples: [["twinmetal eject vm.sock disk1", "the tray of the second disk's drive opens"]],
  execute: async (io, { values, operands: [socket, disk, extra], rest }) => {
    if (socket === undefined || disk === undefined)
      throw new UsageError("which drive? Give the VM's name or socket, and the drive's name: VM DISK.");
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    if (isCard(disk)) await io.library.askVm(socket, { command: "unplug", card: disk });
    else await io.library.askVm(socket, { command: "eject", disk, force: values.force ?? false });
    return 0;
  },
});

export const INSERT = defineCommand({
  name: "insert",
  summary: "put a disc into a CD drive of a running VM, or a disk or network card into a bay",
  usage: "VM DISK IMAGE|NETWORK [--force] [--allow HOST] [-p PORT:GUESTPORT]",
  text: [
    VM_TEXT,
    "A disc that is in the drive is taken out first; a bay has to be empty, and what the guest writes to a disk in it is in the image. The image is opened by the VM's process, which has to be allowed to read it; one in its sandbox opens only what it was started with. A network card leads to a NETWORK as of run --net: user, switch=NAME, socket=PATH or loopback, with the limits of its wire. To a user network belong --allow, --forward and --net-log; without --allow the guest may go where it may by the VM's first user network, or else where the VM's policy says.",
    STATUS_TEXT,
  ],
  options: { ...OPTIONS, ...NETWORK_OPTIONS },
  examples: [
    ["twinmetal insert vm.sock disk1 second.iso", "the next disc of an installation"],
    [
      "twinmetal insert vm.sock disk1 data.qcow2",
      "a disk more, in the bay of a VM that was started with --disk-bays 1",
    ],
    ["twinmetal insert box net1 switch=lab", "a network card more, in the bay of a VM with one card and --net-bays 1"],
    ["twinmetal insert box net1 user -p 2222:22 --allow example.org:443", "a way out, and one in"],
  ],
  execute: async (io, { values, operands: [socket, disk, path, extra], rest }) => {
    if (socket === undefined || disk === undefined || path === undefined)
      throw new UsageError(
        "which disc, and where? Give the VM's name or socket, the drive's name and an image: VM DISK IMAGE.",
      );
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    const { force = false, ...network } = values;
    if (isCard(disk)) {
      await io.library.askVm(socket, { command: "plug", card: disk, network: networkOf(path, network) });
      return 0;
    }
    const [wrong] = Object.keys(network);
    if (wrong !== undefined)
      throw new UsageError(`${disk} is no network card: leave --allow, --forward and --net-log out.`);
    await io.library.askVm(socket, { command: "insert", disk, path: resolve(path), force });
    return 0;
  },
});

/** Throws UsageError. */
function networkOf(text: string, values: NetworkValues): PlugNetwork {
  const [given] = networksOf({ ...values, net: [parseNetwork(text)] });
  if (!given) throw new UsageError("none is no network. To take a card out: twinmetal eject VM CARD.");
  const { model, mac, mtu, path, log, tftp, ...card } = given;
  if ((model ?? mac ?? mtu) !== undefined)
    throw new UsageError(`"${text}": a card in a bay has its model, its address and its MTU from the start.`);
  const files = Object.entries({ path, log, tftp }).flatMap(([name, file]) =>
    file === undefined ? [] : [[name, resolve(file)] as const],
  );
  return { ...card, ...Object.fromEntries(files) };
}
