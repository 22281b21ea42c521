/** `twinmetal resize VM SIZE`: how much memory a running VM has. */
import { defineCommand } from "../command.ts";
import { flag } from "../options.ts";
import { formatSize, parseSize } from "../quantities.ts";
import { UsageError } from "../usage-error.ts";

const OPTIONS = {
  json: flag("json", "Print one JSON object, with sizes in bytes."),
};

export const RESIZE = defineCommand({
  name: "resize",
  summary: "give a running VM more memory, or take it back",
  usage: "VM SIZE [--json]",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run -m 512M,max=2G --migration-socket SOCKET. SIZE is all that it shall have, from what it started with to that most, in steps of 2M. The guest needs the driver virtio_mem, as the tiny image and Debian have it, and takes memory first in pieces of 128M.",
    "A guest that uses the memory gives back what it can, and goes on trying. What it gives back is the host's again with the optional package koffi, on Linux; `twinmetal balloon` takes away more than was plugged in.",
    "Status: 0 done, 125 it failed (the guest did not get there within 30 seconds: the reason is on standard error), 2 bad usage.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal run -m 512M,max=2G --migration-socket vm.sock", "a VM whose memory can grow to 2G"],
    ["twinmetal resize vm.sock 1536M", "in another terminal: it has 1.5G"],
    ["twinmetal resize vm.sock 512M", "as at first"],
  ],
  execute: async (io, { values, operands: [vm, size, extra], rest }) => {
    if (vm === undefined)
      throw new UsageError(
        "which VM? Give its name (twinmetal ls), or the socket that it was started with: --migration-socket.",
      );
    if (size === undefined) throw new UsageError("how much memory? Give a size: twinmetal resize vm.sock 1G.");
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    const request = { command: "resize", bytes: parseSize(size) } as const;
    const answer = (await io.library.askVm(vm, request)) as { readonly sizeBytes: number };
    io.stdout.write(values.json ? `${JSON.stringify(answer)}\n` : `${formatSize(answer.sizeBytes)}\n`);
    return 0;
  },
});
