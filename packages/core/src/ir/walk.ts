/** Walks over the statements of a routine. */
import type { Routine, Statement } from "./types.ts";

/** Calls `visit` for every statement, in order, those inside of others behind them. */
export function walk(statements: readonly Statement[], visit: (statement: Statement) => void): void {
  for (const s of statements) {
    visit(s);
    if (s.kind === "block") walk(s.body, visit);
    else if (s.kind === "if") {
      walk(s.yes, visit);
      walk(s.no, visit);
    } else if (s.kind === "switch") {
      for (const body of s.cases) walk(body, visit);
      walk(s.otherwise, visit);
    } else if (s.kind === "access") walk(s.failed, visit);
  }
}

/** The routines that are called, once for each call. */
export function walkCalls(statements: readonly Statement[], visit: (routine: Routine) => void): void {
  walk(statements, (s) => {
    if (s.kind === "call") visit(s.routine);
    else if (s.kind === "access") visit(s.slow);
  });
}
