/**
 * A routine: a named function of the CPU, written in the builder language, compiled once into the core module and
 * called by every tier. Its body is built on first use, so routines may call each other.
 */
import { Builder, type Expr } from "./builder.ts";
import type { Routine, RoutineBody, ValueType } from "./types.ts";

export type { Routine, RoutineBody };

/** Defines a routine. `build` gets the builder and one expression for each parameter. */
export function routine(
  name: string,
  params: readonly ValueType[],
  result: ValueType | undefined,
  build: (b: Builder, ...args: Expr[]) => void,
): Routine {
  let made: RoutineBody | undefined;
  return {
    name,
    params,
    result,
    body: () => {
      if (!made) {
        const b = new Builder();
        const args = params.map((type) => b.parameter(type));
        build(b, ...args);
        made = { locals: b.parameters, statements: b.finish() };
      }
      return made;
    },
  };
}

/** A function of the host that guest code paths call: a device access, a decode. */
export function hostRoutine(name: string, params: readonly ValueType[], result: ValueType | undefined): Routine {
  return { name, params, result, body: undefined };
}
