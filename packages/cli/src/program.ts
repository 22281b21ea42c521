/**
 * From arguments to a command and from errors to messages. A message says what happened, why, and what to do next, on
 * standard error, after the program's name; a stack trace comes with --debug only.
 */
import type { Command, Io } from "./command.ts";
import { AUTOSTART } from "./commands/autostart.ts";
import { BALLOON } from "./commands/balloon.ts";
import { CLONE } from "./commands/clone.ts";
import { CONSOLE } from "./commands/console.ts";
import { CP } from "./commands/cp.ts";
import { CREATE } from "./commands/create.ts";
import { EJECT, INSERT } from "./commands/disc.ts";
import { ENGINE } from "./commands/engine.ts";
import { EXEC } from "./commands/exec.ts";
import { IMAGE } from "./commands/image.ts";
import { KILL } from "./commands/kill.ts";
import { LOGS } from "./commands/logs.ts";
import { LS } from "./commands/ls.ts";
import { MIGRATE } from "./commands/migrate.ts";
import { PAUSE } from "./commands/pause.ts";
import { POLICY_COMMAND } from "./commands/policy.ts";
import { RENAME } from "./commands/rename.ts";
import { REPLAY } from "./commands/replay.ts";
import { RESET } from "./commands/reset.ts";
import { RESIZE } from "./commands/resize.ts";
import { RESTART } from "./commands/restart.ts";
import { RESTORE } from "./commands/restore.ts";
import { RESUME } from "./commands/resume.ts";
import { RM } from "./commands/rm.ts";
import { RUN } from "./commands/run.ts";
import { SAVE } from "./commands/save.ts";
import { SCREENSHOT } from "./commands/screenshot.ts";
import { SET } from "./commands/set.ts";
import { SHELL } from "./commands/shell.ts";
import { SHOW } from "./commands/show.ts";
import { START } from "./commands/start.ts";
import { STOP } from "./commands/stop.ts";
import { TOP } from "./commands/top.ts";
import { TYPE } from "./commands/type.ts";
import { VERSION } from "./commands/version.ts";
import { VM_PROCESS } from "./commands/vm-process.ts";
import { EXIT } from "./exit-status.ts";
import { aboutCommand } from "./foreign-words.ts";
import { commandHelp, programHelp } from "./help.ts";
import { parseLine } from "./options.ts";
import { closest } from "./suggestion.ts";
import { CommandError, UsageError } from "./usage-error.ts";

/** Each takes what its own options describe: the parser has checked that before `execute`. */
const COMMANDS = [
  RUN,
  CREATE,
  START,
  STOP,
  RESTART,
  AUTOSTART,
  PAUSE,
  RESUME,
  RESET,
  KILL,
  LS,
  SHOW,
  CONSOLE,
  EXEC,
  SHELL,
  CP,
  LOGS,
  RENAME,
  RM,
  SAVE,
  CLONE,
  RESTORE,
  MIGRATE,
  SCREENSHOT,
  TYPE,
  EJECT,
  INSERT,
  BALLOON,
  SET,
  TOP,
  POLICY_COMMAND,
  RESIZE,
  REPLAY,
  IMAGE,
  ENGINE,
  VERSION,
  VM_PROCESS,
] as unknown as readonly Command[];
const HELP = { name: "help", summary: "print this, or everything about one command" };

/** The library's errors about options that this program only hands on. */
const BAD_OPTION_CODES: ReadonlySet<string> = new Set(["IMAGE_BAD_OPTION", "bad-option"]);

export async function runProgram(io: Io, args: readonly string[]): Promise<number> {
  const end = args.indexOf("--");
  const own = end < 0 ? args : args.slice(0, end);
  const isDebugging = own.includes("--debug");
  const words = args.filter((word, index) => word !== "--debug" || (end >= 0 && index > end));
  const [name, ...rest] = words;
  try {
    return await dispatch(io, name, rest);
  } catch (error) {
    return report(io, error, name, isDebugging);
  }
}

async function dispatch(io: Io, name: string | undefined, args: readonly string[]): Promise<number> {
  if (name === undefined) {
    io.stderr.write(overview());
    return EXIT.USAGE;
  }
  if (name === "--version" || name === "-V") return await execute(io, find("version"), args);
  if (name === "help" || name === "--help" || name === "-h") {
    const [topic] = args;
    io.stdout.write(topic === undefined || topic === "help" ? overview() : commandHelp(find(topic)));
    return EXIT.OK;
  }
  return await execute(io, find(name), args);
}

async function execute(io: Io, command: Command, args: readonly string[]): Promise<number> {
  const end = args.indexOf("--");
  const own = end < 0 ? args : args.slice(0, end);
  if (own.includes("--help") || own.includes("-h")) {
    io.stdout.write(commandHelp(command));
    return EXIT.OK;
  }
  return await command.execute(io, parseLine(command.options, args, command.hints));
}

function overview(): string {
  return programHelp([...COMMANDS.filter(({ isInternal }) => !isInternal), HELP as Command]);
}

function find(name: string): Command {
  const command = COMMANDS.find((candidate) => candidate.name === name || candidate.aliases?.includes(name));
  if (command !== undefined) return command;
  if (name.startsWith("-")) throw new UsageError(`the command comes first: twinmetal COMMAND ${name} ...`);
  const said = aboutCommand(name);
  if (said !== undefined) throw new UsageError(`there is no command ${name}. ${said}`);
  const near = closest(
    name,
    [...COMMANDS.filter(({ isInternal }) => !isInternal), HELP].map((candidate) => candidate.name),
  );
  throw new UsageError(`there is no command ${JSON.stringify(name)}.${near ? ` Did you mean ${near}?` : ""}`);
}

/** Errors that people can cause have a stable `code`; any other is a mistake of this program. */
function report(io: Io, error: unknown, name: string | undefined, isDebugging: boolean): number {
  const { message, code, stack } = describe(error);
  const isUsage = error instanceof UsageError;
  const isKnown = code !== undefined && code !== "internal";
  const command = COMMANDS.find((candidate) => candidate.name === name);
  const lines = [
    `twinmetal${command && isUsage ? ` ${command.name}` : ""}: ${isKnown ? message : `internal error: ${message}`}`,
  ];
  if (isUsage) lines.push(`See: twinmetal ${command ? `help ${command.name}` : "help"}`);
  else if (!isKnown && !isDebugging)
    lines.push("This is a mistake in Twinmetal. Run it again with --debug and report what it prints.");
  if (isDebugging && stack !== undefined) lines.push(stack);
  io.stderr.write(`${lines.join("\n")}\n`);
  if (isUsage || (code !== undefined && BAD_OPTION_CODES.has(code))) return EXIT.USAGE;
  return error instanceof CommandError ? error.status : EXIT.FAILED;
}

function describe(error: unknown): { message: string; code: string | undefined; stack: string | undefined } {
  if (!(error instanceof Error)) return { message: String(error), code: undefined, stack: undefined };
  const { stack } = error;
  const { code, neededBytes } = error as { code?: unknown; neededBytes?: unknown };
  const message =
    code === "memory-too-small" && typeof neededBytes === "number"
      ? `${error.message} ${giveMemory(neededBytes)}`
      : error.message;
  // Node's own codes that begin so are about wrong calls, which only this program can make.
  const isStable = typeof code === "string" && !code.startsWith("ERR_");
  return { message, code: isStable ? code : undefined, stack: stackOf(stack, error.cause) };
}

function giveMemory(neededBytes: number): string {
  return `Here: --memory ${Math.ceil(neededBytes / 2 ** 20)}M or more.`;
}

function stackOf(stack: string | undefined, cause: unknown): string | undefined {
  const below = cause instanceof Error ? `\ncaused by ${stackOf(cause.stack, cause.cause)}` : "";
  return stack === undefined ? undefined : `${stack}${below}`;
}
