/** A part of a saved machine: named, with the identifier and version of its schema, and its state. */
import type { StateValue } from "../devices/device.ts";
import { StateError } from "./errors.ts";

export interface StateSection {
  readonly name: string;
  readonly schema: string;
  readonly version: number;
  readonly state: StateValue;
}

/** Names that a state file of this version can contain. Anything else was written by something newer or foreign. */
export const SECTION_NAME: RegExp =
  /^(spec|clock|events|random|vcpu\d{1,3}|processors|device\/[a-z0-9][a-z0-9.-]{0,63}|memory)$/;
/** RAM's directory, which belongs to files only. */
export const MEMORY_SECTION = "memory";

/** Throws StateError. */
export function requireKnownName(name: string): void {
  if (SECTION_NAME.test(name)) return;
  throw new StateError(
    "unknown",
    name,
    `The state has a section ${JSON.stringify(name)} that this version does not know. Use the version that saved it, or a newer one.`,
  );
}
