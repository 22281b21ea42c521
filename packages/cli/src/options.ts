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
): OptionSpec<readonly T[]> {
  return { name, placeholder, text, parse: (given) => [parse(given)], isList: true };
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

/** `planned`: names that are part of the design and not of this version; they get a better answer than "unknown". */
export function parseLine<S extends OptionSpecs>(
  specs: S,
  args: readonly string[],
  planned: readonly string[] = [],
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
    if (entry === undefined) throw unknownOption(written, Object.values(specs), planned);
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

function unknownOption(written: string, specs: readonly OptionSpec[], planned: readonly string[]): UsageError {
  if (planned.includes(written)) return new UsageError(`${written} is not in this version yet.`);
  const known = specs.flatMap(({ name, short }) => (short ? [`--${name}`, `-${short}`] : [`--${name}`]));
  const near = closest(written, known);
  return new UsageError(`there is no option ${written}.${near ? ` Did you mean ${near}?` : ""}`);
}

function nonEmpty(text: string): string {
  if (text === "") throw new UsageError("the value is empty.");
  return text;
}
