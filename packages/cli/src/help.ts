/** Help texts, made from the same descriptions that the parser reads. At most 100 columns. */
import type { Command } from "./command.ts";
import type { OptionSpec } from "./options.ts";

const WIDTH = 100;
const OPTION_COLUMN = 30;

export function programHelp(commands: readonly Command[]): string {
  const lines = [
    "Usage: twinmetal COMMAND [options]",
    "",
    "A hypervisor written in TypeScript: runs an unmodified operating system on a machine made of code.",
    "",
    "Commands:",
    ...commands.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`),
    "",
    "Everywhere:",
    ...optionLines(COMMON_OPTIONS),
    "",
    "Try:",
    "  twinmetal run                      a small Linux, on this terminal; Ctrl-] leaves",
    "  twinmetal run -- uname -a          one command in it",
    "  twinmetal help run                 everything that run can do",
  ];
  return `${lines.join("\n")}\n`;
}

export function commandHelp(command: Command): string {
  const { name, usage, summary, text, options, examples } = command;
  const lines = [`Usage: twinmetal ${name}${usage ? ` ${usage}` : ""}`, "", ...wrap(sentence(summary))];
  for (const paragraph of text) lines.push("", ...wrap(paragraph));
  lines.push("", "Options:", ...optionLines([...Object.values(options), ...COMMON_OPTIONS]));
  if (examples.length > 0) lines.push("", "Examples:");
  for (const [line, what] of examples) lines.push(`  ${line}`, ...(what ? [`      ${what}`] : []));
  return `${lines.join("\n")}\n`;
}

/** Options of every command; `main` takes them out before the command sees its line. */
export const COMMON_OPTIONS: readonly OptionSpec[] = [
  { name: "debug", text: "Errors with their stack trace." },
  { name: "help", short: "h", text: "This text." },
];

function optionLines(options: readonly OptionSpec[]): string[] {
  return options.flatMap(({ name, short, placeholder, bare, text }) => {
    const value = bare === undefined ? ` ${placeholder}` : `[=${placeholder}]`;
    const head = `  ${short ? `-${short}, ` : "    "}--${name}${placeholder ? value : ""}`;
    const [first = "", ...more] = wrap(text, WIDTH - OPTION_COLUMN);
    const rest = more.map((line) => `${" ".repeat(OPTION_COLUMN)}${line}`);
    if (head.length < OPTION_COLUMN - 1) return [`${head.padEnd(OPTION_COLUMN)}${first}`, ...rest];
    return [head, `${" ".repeat(OPTION_COLUMN)}${first}`, ...rest];
  });
}

function sentence(summary: string): string {
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
}

function wrap(text: string, width: number = WIDTH): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return line === "" ? lines : [...lines, line];
}
