/** `twinmetal engine`: what would execute a guest here, and why. */
import { existsSync } from "node:fs";
import { defineCommand } from "../command.ts";
import { flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";

interface EngineRow {
  readonly engine: string;
  readonly usable: boolean;
  readonly chosen: boolean;
  readonly reason: string;
}

export const ENGINE = defineCommand({
  name: "engine",
  summary: "tell which engine a VM gets on this host, and why",
  usage: "[--json]",
  text: [],
  options: { json: flag("json", "As JSON.") },
  examples: [["twinmetal engine", "what `twinmetal run` uses here"]],
  execute: async (io, { values, operands, rest }) => {
    const extra = operands[0] ?? rest?.[0];
    if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many.`);
    const rows = engines();
    if (values.json) io.stdout.write(`${JSON.stringify(rows)}\n`);
    else for (const row of rows) io.stdout.write(describe(row));
    return 0;
  },
});

function engines(): readonly EngineRow[] {
  const device = existsSync("/dev/kvm") ? "This host has /dev/kvm; it is not opened." : "This host has no /dev/kvm.";
  return [
    {
      engine: "jit",
      usable: true,
      chosen: true,
      reason:
        "Guest code is run by a WebAssembly interpreter that is generated from the instruction descriptions; what runs often is translated to WebAssembly. Works on every host with Node 20 or newer, without root.",
    },
    {
      engine: "kvm",
      usable: false,
      chosen: false,
      reason: `Not in this version yet: guest code on the CPU itself, through Linux's KVM. ${device}`,
    },
  ];
}

function describe({ engine, usable, chosen, reason }: EngineRow): string {
  const verdict = chosen ? "used for every VM here" : usable ? "usable" : "not usable";
  return `${engine}: ${verdict}\n  ${reason.replace(/\. /g, ".\n  ")}\n`;
}
