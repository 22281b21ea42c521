/**
 * The command line's grammar: `COMMAND [options] [OPERAND...] [-- WORD...]`, options and operands in any order.
 *   --name VALUE, --name=VALUE, -n VALUE, -nVALUE     an option that takes a value; the last one given counts, or all
 *   --name                                            a flag
 *   --name[=VALUE]                                    an option that need not have its value
 *   --                                                ends the options; what follows is handed on untouched
 * Options are described once (OptionSpec); parser, help and suggestions read the same description.
 */
import { closest } from "./suggestion.ts";
import { UsageError } from "./usage-error.ts";

export interface OptionSpec<T = unknown> {
  readonly name: string;
  /** One letter, without its dash. */
  readonly short?: string;
  /** How the help names the value. Absent: a flag. */
  readonly placeholder?: string;
  /** Lines of the help. */
  readonly text: string;
  /** Absent for flags. Throws UsageError. */
  readonly parse?: (text: string) => T;
  /** What it means without a value, which it then gets by "=" only. */
  readonly bare?: T;
  /** May be given several times: `parse` answers lists, which are joined. */
  readonly isList?: boolean;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export type OptionValues<S extends OptionSpecs> = {
  readonly [K in keyof S]?: S[K] extends OptionSpec<infer T> ? T : never;
};

export interface ParsedLine<S extends OptionSpecs> {
  readonly values: OptionValues<S>;
  readonly operands: readonly string[];
  /** What follows `--`; undefined without one. */
  readonly rest: readonly string[] | undefined;
  /** The options that were given, by their names, as they were written: true for a flag, a list where several may be. */
  readonly texts: Readonly<Record<string, true | string | readonly string[]>>;
}

export function flag(name: string, text: string, short?: string): OptionSpec<boolean> {
  return { name, text, ...(short ? { short } : {}) };
}

export function option<T = string>(
  name: string,
  placeholder: string,
  text: string,
  parse: (text: string) => T = nonEmpty as (text: string) => T,
  short?: string,
): OptionSpec<T> {
  return { name, placeholder, text, parse, ...(short ? { short } : {}) };
}

/** An option that may be given several times. */
export function listOption<T>(
  name: string,
  placeholder: string,
  text: string,
  parse: (text: string) => T,
  short?: string,
): OptionSpec<readonly T[]> {
  return { name, placeholder, text, parse: (given) => [parse(given)], isList: true, ...(short ? { short } : {}) };
}

/** An option with a few possible words. */
export function choice<T extends string>(name: string, choices: readonly T[], text: string): OptionSpec<T> {
  const parse = (given: string): T => {
    const found = choices.find((candidate) => candidate === given);
    if (found !== undefined) return found;
    throw new UsageError(`"${given}" is not one of ${choices.join(", ")}.`);
  };
  return { name, placeholder: choices.join("|"), text, parse };
}

/** The same, but it need not have its value. */
export function optionalChoice<T extends string>(
  name: string,
  bare: T,
  choices: readonly T[],
  text: string,
): OptionSpec<T> {
  return { ...choice(name, choices, text), bare };
}

export interface LineHints {
  /** What to say of options that are none here, by all of the word before its value: "--rm", "-smp". */
  readonly foreign?: Readonly<Record<string, string>> | undefined;
  /** A command comes after --: an option that is none behind an operand is most likely its. */
  readonly endsWithCommand?: boolean | undefined;
}

export function parseLine<S extends OptionSpecs>(
  specs: S,
  args: readonly string[],
  hints: LineHints = {},
): ParsedLine<S> {
  const entries = Object.entries(specs);
  const values: Record<string, unknown> = {};
  const texts: Record<string, true | string | readonly string[]> = {};
  const operands: string[] = [];
  const end = args.indexOf("--");
  const words = end < 0 ? args : args.slice(0, end);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "-" || !word.startsWith("-")) {
      operands.push(word);
      continue;
    }
    const [written, attached] = splitWord(word);
    const entry = entries.find(([, spec]) => written === `--${spec.name}` || written === `-${spec.short}`);
    if (entry === undefined || isForeign(word, written, entries, hints)) {
      const isCommands = hints.endsWithCommand === true && end < 0 && operands.length > 0;
      throw unknownOption(word, Object.values(specs), hints, isCommands);
    }
    const [key, spec] = entry;
    if (spec.parse === undefined) {
      if (attached !== undefined) throw new UsageError(`${written} takes no value.`);
      values[key] = true;
      texts[spec.name] = true;
      continue;
    }
    if (spec.bare !== undefined && attached === undefined) {
      values[key] = spec.bare;
      texts[spec.name] = true;
      continue;
    }
    const given = attached ?? words[++i];
    if (given === undefined || (attached === undefined && isOption(given, Object.values(specs)))) {
      throw new UsageError(`${written} needs a value: ${written} ${spec.placeholder}.`);
    }
    const value = parseValue(written, spec, given);
    const before = spec.isList ? values[key] : undefined;
    values[key] = before === undefined ? value : [...(before as unknown[]), ...(value as unknown[])];
    texts[spec.name] = spec.isList ? [...((texts[spec.name] ?? []) as readonly string[]), given] : given;
  }
  return {
    values: values as OptionValues<S>,
    operands,
    rest: end < 0 ? undefined : args.slice(end + 1),
    texts,
  };
}

function splitWord(word: string): [written: string, attached: string | undefined] {
  if (!word.startsWith("--")) return [word.slice(0, 2), word.length > 2 ? word.slice(2) : undefined];
  const equals = word.indexOf("=");
  return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)];
}

function parseValue(written: string, spec: OptionSpec, given: string): unknown {
  try {
    return spec.parse?.(given);
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${written}: ${error.message}`);
    throw error;
  }
}

function isOption(word: string, specs: readonly OptionSpec[]): boolean {
  return word.startsWith("--") && specs.some(({ name }) => word === `--${name}` || word.startsWith(`--${name}=`));
}

/** "-vga" is no -v with the value "ga", and "-drive" no -d. */
function isForeign(
  word: string,
  written: string,
  entries: readonly (readonly [string, OptionSpec])[],
  { foreign = {} }: LineHints,
): boolean {
  if (written.startsWith("--") || word.length <= 2) return false;
  return Object.hasOwn(foreign, word) || entries.some(([, { name }]) => name.length > 1 && word === `-${name}`);
}

function unknownOption(
  word: string,
  specs: readonly OptionSpec[],
  { foreign = {} }: LineHints,
  isCommands: boolean,
): UsageError {
  const [written] = word.split("=", 1) as [string];
  const [short] = splitWord(word);
  const known = [written, short].find((each) => Object.hasOwn(foreign, each));
  const names = specs.flatMap(({ name, short: letter }) => (letter ? [`--${name}`, `-${letter}`] : [`--${name}`]));
  const double = `-${written}`;
  const near = names.includes(double) ? double : closest(written.startsWith("--") ? written : short, names);
  const answer = isCommands
    ? "A command comes after --, with its options."
    : known === undefined
      ? near && `Did you mean ${near}?`
      : foreign[known];
  const shown = known ?? (names.includes(double) || written.startsWith("--") ? written : short);
  return new UsageError(`there is no option ${shown}.${answer ? ` ${answer}` : ""}`);
}

function nonEmpty(text: string): string {
  if (text === "") throw new UsageError("the value is empty.");
  return text;
}
