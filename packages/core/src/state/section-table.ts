/**
 * The sections of a state that was made elsewhere, asked for one after the other: each must be there in the schema and
 * version that is wanted, and none may be left over.
 */
import type { StateValue } from "../devices/device.ts";
import { StateError } from "./errors.ts";
import { MEMORY_SECTION, requireKnownName, type StateSection } from "./section.ts";

export class SectionTable {
  readonly #sections = new Map<string, StateSection>();
  readonly #used = new Set<string>();

  /** Throws StateError unless all are known, and each is there once. */
  constructor(sections: readonly StateSection[]) {
    for (const section of sections) {
      const { name } = section;
      requireKnownName(name);
      if (this.#sections.has(name)) {
        throw new StateError(
          "format",
          name,
          `The state is damaged: it has the section ${name} twice. Use an intact copy.`,
        );
      }
      this.#sections.set(name, section);
    }
  }

  /** The names of all sections. */
  get names(): readonly string[] {
    return [...this.#sections.keys()];
  }

  has(name: string): boolean {
    return this.#sections.has(name);
  }

  /** Version of a section's schema where it is one of 1 to `newest`, else `newest`, which `section` then refuses. */
  versionOf(name: string, newest: number): number {
    const version = this.#sections.get(name)?.version ?? newest;
    return version >= 1 && version < newest ? version : newest;
  }

  /** The state of a section of this schema and version. */
  section(name: string, schema: string, version: number): StateValue {
    const found = this.#sections.get(name);
    if (!found) {
      throw new StateError(
        "missing",
        name,
        `The state has no section ${name}, which this machine needs. It belongs to another machine.`,
      );
    }
    if (found.schema !== schema) {
      throw new StateError(
        "foreign",
        name,
        `The section ${name} holds a ${JSON.stringify(found.schema)}, but this machine has a ${JSON.stringify(schema)} there.`,
      );
    }
    if (found.version !== version) {
      throw new StateError(
        "version",
        name,
        `The section ${name} has version ${found.version} of its schema ${schema}; this program reads version ${version}. Use the program that saved it.`,
      );
    }
    this.#used.add(name);
    return found.state;
  }

  /** Throws StateError if a section was not asked for: the machine lacks what the state has. */
  end(): void {
    for (const name of this.#sections.keys()) {
      if (name === MEMORY_SECTION || this.#used.has(name)) continue;
      throw new StateError(
        "unknown",
        name,
        `The state has a section ${name} for which this machine has no place. It belongs to another machine.`,
      );
    }
  }
}
