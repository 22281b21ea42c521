/** `twinmetal ls`, also as ps: the VMs that stay, and what they are doing. */
import { defineCommand } from "../command.ts";
import { LIFE_IS_OVER, lifeText, namedVms } from "../named-vms.ts";
import { flag } from "../options.ts";
import { formatAge } from "../quantities.ts";
import { UsageError } from "../usage-error.ts";
import type { VmObservation } from "../vm-library.ts";

const HEADER = ["NAME", "STATE", "ENGINE", "PID", "SINCE", ""];

export const LS = defineCommand({
  name: "ls",
  aliases: ["ps"],
  summary: "list the VMs that stay, and what they are doing",
  usage: "[--json]",
  text: [
    "Those made by `twinmetal create` and `twinmetal run -d`, running or not. Of one that is not, the last column says how it ended.",
  ],
  options: { json: flag("json", "Print one JSON array.") },
  hints: { foreign: { "-a": "All are listed, running or not.", "--all": "All are listed, running or not." } },
  examples: [
    ["twinmetal ls", "also: twinmetal ps"],
    ["twinmetal ls --json", "for programs"],
  ],
  execute: async (io, { values, operands, rest }) => {
    const extra = operands[0] ?? (rest === undefined ? undefined : "--");
    if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many. One VM: twinmetal show NAME`);
    const seen = await namedVms(io).list();
    io.stdout.write(values.json ? `${JSON.stringify(seen)}\n` : tableOf([HEADER, ...seen.map(rowOf)]));
    return 0;
  },
});

function rowOf({ name, state, engine, pid, startedAt, ...seen }: VmObservation): readonly string[] {
  const { progress, end, restarts, expiresAt } = seen;
  const isAlive = pid !== undefined;
  // Nobody was there to note when a process that was killed ended.
  const since = isAlive ? startedAt : end?.at === startedAt ? undefined : end?.at;
  const details = [
    isAlive ? progress?.phase : end?.reason.split("\n", 1).join(),
    isAlive && restarts && `restarts: ${restarts.count}`,
    expiresAt && end?.reason !== LIFE_IS_OVER && lifeText(expiresAt),
  ];
  return [
    name,
    state,
    engine ?? "-",
    isAlive ? String(pid) : "-",
    since === undefined ? "-" : formatAge(Date.now() - Date.parse(since)),
    details.filter(Boolean).join("; "),
  ];
}

function tableOf(rows: readonly (readonly string[])[]): string {
  const widths = HEADER.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
