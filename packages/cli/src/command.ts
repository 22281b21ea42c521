/** What a command is, and what it may touch: everything of the process comes through `Io`, so that tests can stand in. */
import type { ReadStream, WriteStream } from "node:tty";
import type { LineHints, OptionSpecs, ParsedLine } from "./options.ts";
import type { VmLibrary } from "./vm-library.ts";

/** The parts of a terminal that files and pipes lack are optional. */
export type InputStream = NodeJS.ReadableStream & Partial<Pick<ReadStream, "isTTY" | "setRawMode">>;
export type OutputTarget = NodeJS.WritableStream & Partial<Pick<WriteStream, "isTTY" | "columns" | "rows">>;

export interface Io {
  readonly stdin: InputStream;
  readonly stdout: OutputTarget;
  readonly stderr: OutputTarget;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Calls back at each delivery until the returned function is called. */
  onSignal(name: NodeJS.Signals, listener: () => void): () => void;
  /** Stops this process as a shell's Ctrl-Z does. Returns when it was continued. */
  stopProcess(): void;
  readonly library: VmLibrary;
}

export interface Command<S extends OptionSpecs = OptionSpecs> {
  readonly name: string;
  readonly summary: string;
  /** After the name, as in "[IMAGE] [options] [-- CMD ARG...]". */
  readonly usage: string;
  /** Started by this program only: no help names it. */
  readonly isInternal?: boolean;
  /** Other names. */
  readonly aliases?: readonly string[];
  /** Paragraphs of the help, beside the summary. */
  readonly text: readonly string[];
  readonly options: S;
  /** What is said of a line that names what is not there. */
  readonly hints?: LineHints;
  readonly examples: readonly (readonly [line: string, what: string])[];
  /** Resolves with the exit status once everything is written. */
  execute(io: Io, line: ParsedLine<S>): Promise<number>;
}

/** Keeps the options' types of the literal it is given. */
export function defineCommand<S extends OptionSpecs>(command: Command<S>): Command<S> {
  return command;
}
