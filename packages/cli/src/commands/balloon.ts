/** `twinmetal balloon VM [SIZE]`: memory that a running guest gives back to the host, and what it says of its own use. */
import { defineCommand } from "../command.ts";
import { flag } from "../options.ts";
import { formatSize, parseSize } from "../quantities.ts";
import { UsageError } from "../usage-error.ts";
import type { MemoryAnswer } from "../vm-library.ts";

const OPTIONS = {
  json: flag("json", "Print one JSON object, with sizes in bytes."),
};

export const BALLOON = defineCommand({
  name: "balloon",
  summary: "take memory back from a running VM, or ask what it uses",
  usage: "VM [SIZE|auto] [--json]",
  text: [
    "VM is a name of `twinmetal ls`, or the socket that it was started with: twinmetal run --balloon --migration-socket SOCKET. The guest shall do without SIZE of its memory, 0 for none; without SIZE it is asked what it uses. auto: from here on what it has idle goes to a host that is short of memory, and back when it needs it or the host has plenty, until a SIZE is given.",
    "A guest that needs the memory gives less, or takes it again. Free pages that Linux reports by itself go back to the host in any case. The host's memory is freed with the optional package koffi, on Linux.",
    "Status: 0 done, 125 it failed (the guest did not give that much within 30 seconds: the reason is on standard error), 2 bad usage.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal run -m 2G --balloon --migration-socket vm.sock", "a VM with a balloon"],
    ["twinmetal balloon vm.sock 1G", "in another terminal: it does without half of its memory"],
    ["twinmetal balloon vm.sock auto", "as host and guest need it"],
    ["twinmetal balloon vm.sock", "what the guest says of its memory"],
  ],
  execute: async (io, { values, operands: [socket, size, extra], rest }) => {
    if (socket === undefined)
      throw new UsageError(
        "which VM? Give its name (twinmetal ls), or the socket that it was started with: --migration-socket.",
      );
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    const bytes = size === undefined || size === "auto" ? size : parseSize(size);
    const answer = (await io.library.askVm(
      socket,
      bytes === undefined ? { command: "memory" } : { command: "balloon", bytes },
    )) as MemoryAnswer;
    io.stdout.write(values.json ? `${JSON.stringify(answer)}\n` : textOf(answer));
    return 0;
  },
});

function textOf({ balloonBytes, isBalloonAutomatic, notGivenBack, statistics = {} }: MemoryAnswer): string {
  const how = isBalloonAutomatic ? " (auto)" : "";
  const rows = [
    `balloonBytes        ${formatSize(balloonBytes)}${how}\n`,
    ...Object.entries(statistics).map(
      ([name, value]) => `${name.padEnd(20)}${name.endsWith("Bytes") ? formatSize(value) : value}\n`,
    ),
  ];
  const isMisleading = balloonBytes > 0 && notGivenBack !== null;
  return rows.join("") + (isMisleading ? `${notGivenBack}\n` : "");
}
