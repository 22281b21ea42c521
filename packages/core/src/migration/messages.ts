/**
 * What the two sides of a migration tell each other beside pages, as canonical CBOR of plain records. Each reader checks
 * every field, and refuses those that it does not know.
 */
import type { StateValue } from "../devices/device.ts";
import { type MachineSpec, specFromState, specToState } from "../machine/spec.ts";
import { type CodecLimits, decodeState, encodeState } from "../state/codec.ts";
import { StateReader } from "../state/reader.ts";
import { MigrationError, type MigrationErrorCode, type MigrationObstacle } from "./errors.ts";

export const MIGRATION_ID_BYTES = 16;
const LIMITS: CodecLimits = { maxDepth: 16, maxItems: 20_000, maxBytes: 2 * 1024 * 1024 };
const MAX_OBSTACLES = 64;
const MAX_STOOD_US = 60_000_000;

/** The form of a part of the state: what the target must be able to read. */
export interface StateForm {
  readonly name: string;
  readonly schema: string;
  readonly version: number;
}

export interface Hello {
  /** Random: names this attempt, for the question what has become of it. */
  readonly id: Uint8Array;
  /** Only asks whether the target would take the VM. */
  readonly isProbe: boolean;
  /** Of Twinmetal. */
  readonly version: string;
  readonly engine: string;
  readonly name: string;
  readonly spec: MachineSpec;
  readonly forms: readonly StateForm[];
}

export interface Answer {
  readonly version: string;
  readonly engine: string;
  /** None: the target takes it. */
  readonly obstacles: readonly MigrationObstacle[];
}

export interface Finish {
  /** Over the checksums of all pages (page-digest.ts). */
  readonly digest: number;
  readonly isPaused: boolean;
}

export interface Release {
  /** Typed, and not taken by the guest yet. */
  readonly input: Uint8Array;
  /** How long the guest has stood still: its clock is put forward by that. */
  readonly stoodUs: number;
}

/** Running: it runs, or ran, at the target. Returned: it never ran there, and never will. */
export type Fate = "running" | "returned" | "unknown";

/** Reads one message; damage and foreign fields are a MigrationError. */
function read<T>(payload: Uint8Array, what: string, fields: (reader: StateReader) => T): T {
  try {
    const reader = new StateReader(decodeState(payload, what, LIMITS), what);
    const message = fields(reader);
    reader.end();
    return message;
  } catch (error) {
    if (error instanceof MigrationError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new MigrationError("bad-peer", `The other side's ${what} cannot be understood: ${why}`, { cause: error });
  }
}

export function encodeHello({ id, isProbe, version, engine, name, spec, forms }: Hello): Uint8Array {
  const list = forms.map((form): StateValue => ({ name: form.name, schema: form.schema, version: form.version }));
  return encodeState({ id, isProbe, version, engine, name, spec: specToState(spec), forms: list });
}

export function decodeHello(payload: Uint8Array): Hello {
  return read(payload, "hello", (reader) => ({
    id: reader.bytesExact("id", MIGRATION_ID_BYTES),
    isProbe: reader.bool("isProbe"),
    version: reader.text("version", 64),
    engine: reader.text("engine", 64),
    name: reader.text("name", 64),
    spec: specFromState(reader.part("spec")),
    forms: reader.array("forms", 256).map((form) => {
      const read = { name: form.text("name", 128), schema: form.text("schema", 128), version: form.u32("version") };
      form.end();
      return read;
    }),
  }));
}

export function encodeAnswer({ version, engine, obstacles }: Answer): Uint8Array {
  const list = obstacles
    .slice(0, MAX_OBSTACLES)
    .map(({ code, message }): StateValue => ({ code, message: message.slice(0, 500) }));
  return encodeState({ version, engine, obstacles: list });
}

export function decodeAnswer(payload: Uint8Array): Answer {
  return read(payload, "answer", (reader) => ({
    version: reader.text("version", 64),
    engine: reader.text("engine", 64),
    obstacles: reader.array("obstacles", MAX_OBSTACLES).map((obstacle) => {
      const code = obstacle.text("code", 64) as MigrationObstacle["code"];
      const message = printable(obstacle.text("message", 500));
      obstacle.end();
      return { code, message };
    }),
  }));
}

/** ROUND, ROUND_END, ROUND_ACK. */
export function encodeRound(round: number): Uint8Array {
  return encodeState({ round });
}
export function decodeRound(payload: Uint8Array): number {
  return read(payload, "round", (reader) => reader.u32("round"));
}

export function encodeFinish({ digest, isPaused }: Finish): Uint8Array {
  return encodeState({ digest, isPaused });
}
export function decodeFinish(payload: Uint8Array): Finish {
  return read(payload, "finish", (reader) => ({ digest: reader.u32("digest"), isPaused: reader.bool("isPaused") }));
}

/** CANCEL and FAILED: why. */
export function encodeFailure(error: { readonly code: string; readonly message: string }): Uint8Array {
  return encodeState({ code: error.code.slice(0, 64), message: error.message.slice(0, 1000) });
}
/** The error that a peer's CANCEL or FAILED is. */
export function decodeFailure(payload: Uint8Array, isCancel: boolean): MigrationError {
  const { code, message } = read(payload, "failure", (reader) => ({
    code: reader.text("code", 64),
    message: printable(reader.text("message", 1000)),
  }));
  if (isCancel) return new MigrationError("cancelled", `The other side has cancelled the migration: ${message}`);
  const known: readonly MigrationErrorCode[] = ["corrupt", "bad-peer", "version", "stalled", "link-lost"];
  return new MigrationError(
    known.find((candidate) => candidate === code) ?? "peer-failed",
    `The other side has given up: ${message}`,
  );
}

export function encodeQuery(id: Uint8Array): Uint8Array {
  return encodeState({ id });
}
export function decodeQuery(payload: Uint8Array): Uint8Array {
  return read(payload, "query", (reader) => reader.bytesExact("id", MIGRATION_ID_BYTES));
}
export function encodeFate(fate: Fate): Uint8Array {
  return encodeState({ fate });
}
export function decodeFate(payload: Uint8Array): Fate {
  return read(payload, "fate", (reader) => reader.oneOf("fate", ["running", "returned", "unknown"]));
}

export function encodeRelease({ input, stoodUs }: Release): Uint8Array {
  return encodeState({ input, stoodUs: Math.min(Math.max(0, Math.round(stoodUs)), MAX_STOOD_US) });
}
export function decodeRelease(payload: Uint8Array): Release {
  return read(payload, "release", (reader) => ({
    input: reader.bytes("input", payload.length),
    stoodUs: reader.int("stoodUs", 0, MAX_STOOD_US),
  }));
}

/** A peer's words are shown to people: no control characters. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, " ");
}
