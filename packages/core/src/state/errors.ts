/**
 * The one error of the state format: a saved state that cannot be accepted. `code` is stable for programs, `path` names
 * the place ("uart0.fifo"), the message tells what was found, what was expected and what to do.
 */
export type StateErrorCode =
  /** A field is absent. */
  | "missing"
  /** A field has another type than the schema says. */
  | "type"
  /** A value of the right type that the device could never have saved. */
  | "range"
  /** A field or section that this version does not know. */
  | "unknown"
  /** The schema's version is newer than this program, or no longer readable. */
  | "version"
  /** The bytes are not a state file, or end early. */
  | "format"
  /** A checksum or hash does not match. */
  | "checksum"
  /** The state belongs to another kind of machine. */
  | "foreign";

export class StateError extends Error {
  override readonly name = "StateError";
  readonly code: StateErrorCode;
  readonly path: string;

  constructor(code: StateErrorCode, path: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.path = path;
  }
}
