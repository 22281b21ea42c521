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
  const made: Record<Variant, RoutineBody | undefined> = { one: undefined, parallel: undefined };
  return {
    name,
    params,
    result,
    body: () => {
      let body = made[variant];
      if (!body) {
        const b = new Builder();
        const args = params.map((type) => b.parameter(type));
        build(b, ...args);
        body = { locals: b.parameters, statements: b.finish() };
        made[variant] = body;
      }
      return body;
    },
  };
}

/**
 * Whose code is built: of vCPUs that have the guest's memory for themselves while they run, one or several in turn; or of
 * vCPUs that run in parallel. Routines and semantics that differ ask `isParallel()` while they are built.
 */
export type Variant = "one" | "parallel";
let variant: Variant = "one";

export const isParallel = (): boolean => variant === "parallel";

/** Builds, or compiles, in a variant. */
export function inVariant<T>(wanted: Variant, build: () => T): T {
  const before = variant;
  variant = wanted;
  try {
    return build();
  } finally {
    variant = before;
  }
}

/** A function of the host that guest code paths call: a device access, a decode. */
export function hostRoutine(name: string, params: readonly ValueType[], result: ValueType | undefined): Routine {
  return { name, params, result, body: undefined };
}
