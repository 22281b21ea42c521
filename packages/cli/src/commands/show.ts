/** `twinmetal show NAME`: what a VM that stays is made of, what it is doing, and where its files are. */
import { defineCommand, type Io } from "../command.ts";
import { JSON_FLAG, lifeText, namedVms } from "../named-vms.ts";
import { flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import { usageRows } from "../usage-text.ts";
import { allowedVerbs, type OptionText, type RegistersAnswer, type VmUsage } from "../vm-library.ts";

const ANSWER_MS = 2000;
/** The machine's thread answers between two slices, which a busy host may hold up. */
const REGISTERS_MS = 20_000;

export const SHOW = defineCommand({
  name: "show",
  summary: "show what a VM that stays is made of, and what it is doing",
  usage: "NAME [--registers] [--json]",
  text: ["Its options are kept in vm.json of its folder, which may be changed while the VM is off."],
  options: {
    json: JSON_FLAG,
    registers: flag(
      "registers",
      "The registers of a running VM, too: where its guest is, and in which ring. Of several processors, those of the one whose turn it is.",
    ),
  },
  examples: [
    ["twinmetal show box", ""],
    [
      "twinmetal show box --registers",
      "what a guest that does not answer is at; again after a second, to see whether it moves",
    ],
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
    const usage = seen.pid === undefined ? undefined : await usageOf(io, name);
    const processor = values.registers
      ? ((await io.library.askVm(name, { command: "registers" }, { timeoutMs: REGISTERS_MS })) as RegistersAnswer)
      : undefined;
    if (values.json) {
      const known = { ...seen, allowed, folder: path, socket, console, usage, processor, spec };
      io.stdout.write(`${JSON.stringify(known)}\n`);
      return 0;
    }
    const { state, engine, isSandboxed, pid, startedAt, restarts, expiresAt, end } = seen;
    const rows: readonly (readonly [string, string | undefined])[] = [
      ["name", name],
      ["state", state],
      ["possible now", allowed.join(", ")],
      ["engine", engine],
      ["process", pid === undefined ? undefined : `${pid}${isSandboxed ? ", in its sandbox" : ""}`],
      ["started", startedAt],
      ["restarts", restarts && `${restarts.count}, the last at ${restarts.at}: ${restarts.reason}`],
      ["lives until", expiresAt && `${expiresAt} (${lifeText(expiresAt)})`],
      ["ended", end && `${end.at === startedAt ? "later, nobody knows when" : end.at}: ${end.reason}`],
      ...(usage ? usageRows(usage) : []),
      ...(processor ? processorRows(processor) : []),
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

/** Undefined: it is still starting, is ending, or does not answer. */
async function usageOf(io: Io, name: string): Promise<VmUsage | undefined> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  return (await io.library.askVm(name, { command: "usage" }, { signal }).catch(() => undefined)) as VmUsage | undefined;
}

function processorRows({ registers, cs, ss, cpl, isHalted, retired }: RegistersAnswer): [string, string][] {
  const selector = (value: number): string => `0x${value.toString(16).padStart(4, "0")}`;
  return [
    ["ring", `${cpl}${isHalted ? ", waits for an interrupt (HLT)" : ""}`],
    ["instructions", retired.toLocaleString("en")],
    ...Object.entries(registers),
    ["cs", selector(cs)],
    ["ss", selector(ss)],
  ];
}

function optionText(text: OptionText): string {
  if (text === true) return "";
  return typeof text === "string" ? text : text.join(" ");
}
