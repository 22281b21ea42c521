// A short micro-op has nothing behind its first part: what a handler for one reads there would be the next micro-op's.

import { expect, it } from "vitest";
import * as L from "../cpu/layout.ts";
import { Builder, type Expr, type Operand } from "../ir/builder.ts";
import type { Routine } from "../ir/routine.ts";
import { buildHandler, type Handler, type HandlerSet, makeHandlers } from "./handlers.ts";
import "./records/index.ts";

/** Notes what is read of the micro-op: in line up to which byte, and by which routines. */
class WatchingBuilder extends Builder {
  readonly microOp: Expr = this.parameter("i32");
  readonly routines: string[] = [];
  end = 0;
  override load(...args: Parameters<Builder["load"]>): Expr {
    const [name, , address, offset = 0] = args;
    const bits = Number(/load(\d+)/.exec(name)?.[1] ?? name.slice(1, 3));
    if (address === this.microOp) this.end = Math.max(this.end, offset + bits / 8);
    return super.load(...args);
  }
  override call(routine: Routine, ...args: Operand[]): Expr {
    if (args.includes(this.microOp)) this.routines.push(routine.name);
    return super.call(routine, ...args);
  }
}

function reads(handler: Handler, addressing: "any" | "plain" | "flat"): WatchingBuilder {
  const b = new WatchingBuilder();
  const inlineAccess = addressing !== "any";
  buildHandler(b, handler, b.microOp, { leave: (code) => b.return(code), inlineAccess, addressing });
  return b;
}

const wrong = (set: HandlerSet): string[] => {
  const { hot, table, firstFlat } = set;
  const all = [
    ...table.map((handler) => ({ handler, b: reads(handler, "any") })),
    ...hot.map((handler, i) => ({ handler, b: reads(handler, i < firstFlat ? "plain" : "flat") })),
  ];
  return all
    .filter(({ handler, b }) => !handler.shape.isLong && (b.end > L.UOP_SHORT_BYTES || b.routines.length > 0))
    .map(({ handler, b }) => `${handler.key}: ${b.end} bytes; ${b.routines}`);
};

it.each(["one", "parallel"] as const)("handlers of short micro-ops read nothing behind them, variant %s", (variant) => {
  const set = makeHandlers(undefined, variant);
  expect(set.table.filter(({ shape }) => !shape.isLong).length).toBeGreaterThan(300);
  expect(wrong(set)).toEqual([]);
});
