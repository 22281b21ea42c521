/** A part of a saved machine: named, with the identifier and version of its schema, and its state. */
import type { StateValue } from "../devices/device.ts";

export interface StateSection {
  readonly name: string;
  readonly schema: string;
  readonly version: number;
  readonly state: StateValue;
}

/** Names that a state file of this version can contain. Anything else was written by something newer or foreign. */
export const SECTION_NAME: RegExp = /^(spec|clock|events|random|vcpu\d{1,3}|device\/[a-z0-9][a-z0-9.-]{0,63}|memory)$/;
