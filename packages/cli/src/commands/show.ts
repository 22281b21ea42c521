/** `twinmetal show NAME`: what a VM that stays is made of, what it is doing, and where its files are. */
import { defineCommand } from "../command.ts";
import { JSON_FLAG, lifeText, namedVms } from "../named-vms.ts";
import { UsageError } from "../usage-error.ts";
import { allowedVerbs, type OptionText } from "../vm-library.ts";

export const SHOW = defineCommand({
  name: "show",
  summary: "show what a VM that stays is made of, and what it is doing",
  usage: "NAME [--json]",
  text: ["Its options are kept in vm.json of its folder, which may be changed while the VM is off."],
  options: { json: JSON_FLAG },
  examples: [
    ["twinmetal show box", ""],
    ["twinmetal show box --json", "for programs"],
  ],
  execute: async (io, { values, operands: [name, extra], rest }) => {
    if (name === undefined) throw new UsageError("which VM? Give its name; see: twinmetal ls");
    if (extra !== undefined || rest !== undefined) throw new UsageError(`"${extra ?? "--"}" is one word too many.`);
    const vms = namedVms(io);
    const seen = await vms.observe(name);
    const spec = await vms.store.read(name);
    const { path, socket, console } = vms.store.folder(name);
    const allowed = allowedVerbs(seen.state);
    if (values.json) {
      io.stdout.write(`${JSON.stringify({ ...seen, allowed, folder: path, socket, console, spec })}\n`);
      return 0;
    }
    const { state, engine, pid, startedAt, restarts, expiresAt, end } = seen;
    const rows: readonly (readonly [string, string | undefined])[] = [
      ["name", name],
      ["state", state],
      ["possible now", allowed.join(", ")],
      ["engine", engine],
      ["process", pid === undefined ? undefined : String(pid)],
      ["started", startedAt],
      ["restarts", restarts && `${restarts.count}, the last at ${restarts.at}: ${restarts.reason}`],
      ["lives until", expiresAt && `${expiresAt} (${lifeText(expiresAt)})`],
      ["ended", end && `${end.at}: ${end.reason}`],
      ["folder", path],
      ["console", console],
      ["created", spec.createdAt],
      ["directory", spec.directory],
      ["image", spec.image],
      ...Object.entries(spec.options).map(([option, text]) => [`--${option}`, optionText(text)] as const),
    ];
    for (const [key, value] of rows) if (value !== undefined) io.stdout.write(`${key.padEnd(16)} ${value}\n`);
    return 0;
  },
});

function optionText(text: OptionText): string {
  if (text === true) return "";
  return typeof text === "string" ? text : text.join(" ");
}
