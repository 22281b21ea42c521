/**
 * The interpreter's run loop, as a routine: finds blocks of decoded micro-ops and runs them, hot handlers in line, the
 * others through the function table; delivers exceptions; comes out when the budget is spent or something wants
 * attention.
 *
 * Counting (docs/architecture.md, "Counting"): each retired instruction counts one, and so does each delivery of an
 * exception in place of the instruction that raised it. A block's instructions are taken off the budget before the
 * block; a block longer than what is left runs one instruction at a time.
 */
import { blockHot, decodeBlock, decodeCrossing, enterBlock, findInSet, hashSet } from "../cpu/code-cache.ts";
import { deliverException } from "../cpu/exceptions.ts";
import * as L from "../cpu/layout.ts";
import { tlbEntry } from "../cpu/tlb.ts";
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { buildHandler, type HandlerSet } from "../isa/handlers.ts";
import { BRANCH, FAULT, LEAVE, NEXT } from "../isa/semantics.ts";
import { MAX_STRAIGHT } from "../jit/region.ts";
import { LEFT_DISPATCH, LEFT_INTERPRET, pagesHold, parkFlags, runRegions, unparkFlags } from "../jit/routines.ts";
import { attend } from "./attention.ts";
import { checkInstructionEnd, fetchNextPage, findCodePage } from "./code-fetch.ts";

/** Finds a block that is not the first of its look-up set, or decodes it. 0 = a fault is pending. */
const findBlock: Routine = routine("find_block", ["i32", "i32", "i64"], "i32", (b, host, mode, linear) => {
  const other = b.call(findInSet, host, mode);
  b.if(other.nez(), () => b.return(other));
  const page = b.keep(host.sub(b.get(L.RAM_HOST)).shrU(12));
  b.if(page.ltU(b.get(L.RAM_BYTES).add(b.get(L.ROM_BYTES)).shrU(12)), () => {
    const entry = b.variable(b.load("i32.load", "host", page.shl(2).add(b.get(L.PAGE_LISTS))));
    b.while(
      () => entry.get().nez(),
      () => {
        const at = b.keep(entry.get());
        const same = b
          .load("i32.load", "host", at, L.BLOCK_HOST)
          .eq(host)
          .and(b.load("i32.load", "host", at, L.BLOCK_MODE).eq(mode));
        b.if(same.and(b.load("i32.load", "host", at, L.BLOCK_ALIAS).eq(at)), () => {
          b.call(enterBlock, host, mode, at);
          b.return(at);
        });
        entry.set(b.load("i32.load", "host", at, L.BLOCK_NEXT));
      },
    );
  });
  const made = b.call(decodeBlock, host, mode);
  b.if(made.nez(), () => b.return(made));
  const second = b.call(fetchNextPage, linear);
  b.if(second.eqz(), () => b.return(0));
  b.return(b.call(decodeCrossing, host, mode, second));
});

/** So few instructions before the budget's end, a region may be too long for what is left. */
export const SHORT_OF_BUDGET: number = MAX_STRAIGHT + 32;

/** No RIP: not canonical, and above 4 GiB. */
const NOWHERE = 1n << 62n;

/** run(budget) -> EXIT_*. */
export function makeRun(handlers: HandlerSet): Routine {
  return routine("run", ["i32"], "i32", (b, budget) => {
    b.put(L.RETIRED_END, b.get(L.RETIRED_END).sub(b.get(L.REMAINING).s64()).add(budget.s64()));
    b.put(L.REMAINING, budget);
    const up = b.variable(i32(0));
    const block = b.variable(i32(0));
    // RIP of the instruction that a region left to the interpreter.
    const interpretAt = b.variable(i64(NOWHERE));
    b.loop((nextBlock) => {
      b.if(b.get(L.REMAINING).leS(0), () => b.return(L.EXIT_BUDGET), undefined, false);
      const single = b.variable(i32(0));
      b.if(
        b.get(L.ATTENTION),
        () => {
          const what = b.call(attend);
          b.if(what.gtU(1), () => b.return(what.sub(1)));
          single.set(what.shl(4));
          // A delivery counts, too.
          b.if(b.get(L.REMAINING).leS(0), () => b.return(L.EXIT_BUDGET));
        },
        undefined,
        false,
      );
      b.block((found) => {
        const rip = b.get(L.RIP);
        const linear = b.keep(rip.add(b.get(L.CODE_BASE)));
        const ring = b.get(L.BRANCH_NEXT);
        b.store("i64.store", "cpu", ring, rip, L.BRANCH_RING);
        b.put(L.BRANCH_NEXT, ring.add(8).and(L.BRANCH_RING_ENTRIES * 8 - 1));
        b.put(L.BLOCK_RIP, rip);
        b.if(
          linear.and(-4096).ne(b.get(L.CODE_PAGE)),
          () => {
            const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), linear));
            const hit = b.load("i64.load", "host", entry, L.TLB_EXECUTE).eq(linear.shrU(12));
            b.if(
              select(b.get(L.MODE).and(L.MODE_64 | L.MODE_FLAT), hit, i32(0)),
              () => {
                const host = linear.lo32().add(b.load("i32.load", "host", entry, L.TLB_ADDEND));
                b.put(L.CODE_HOST, host.and(-4096));
                b.put(L.CODE_PAGE, linear.and(-4096));
                b.put(L.CODE_LIMITED, 0);
              },
              () => {
                b.if(b.call(findCodePage, linear).eqz(), () => fault(b, 0, nextBlock));
                single.set(single.get().or(b.get(L.CODE_LIMITED).shl(4)));
              },
              true,
            );
          },
          undefined,
          false,
        );
        const host = b.keep(b.get(L.CODE_HOST).or(linear.lo32().and(0xfff)));
        const find = (mode: Expr, tag: Expr, before?: Expr): void => {
          const slot = b.keep(hashSet(host, mode));
          b.if(
            b.load("i64.load", "host", slot).eq(tag),
            () => {
              const found = b.keep(b.load("i32.load", "host", slot, 8));
              block.set(found);
              if (!before) return;
              // Of one that crosses pages there are as many as its second page was mapped to.
              const isWhole = b.load("i32.load", "host", found, L.BLOCK_SECOND).eqz();
              b.if(before.nez().and(isWhole), () => {
                b.store(
                  "i32.store",
                  "host",
                  before,
                  b.load("i32.load", "host", before, L.BLOCK_AFTER),
                  L.BLOCK_AFTER + 4,
                );
                b.store("i32.store", "host", before, found, L.BLOCK_AFTER);
              });
            },
            () => {
              block.set(b.call(findBlock, host, mode, linear));
              b.if(block.get().eqz(), () => fault(b, 0, nextBlock));
            },
            true,
          );
        };
        const tagOf = (mode: Expr): Expr => b.keep(host.u64().or(mode.u64().shl(32)));
        const mode = b.keep(b.get(L.MODE).or(single.get()));
        const tag = tagOf(mode);
        // The last two that ran behind the block before. What was dropped has another tag, and where the arena is used anew
        // no guess is left (BlockDecoder.flush).
        const before = b.keep(block.get());
        b.block((guessed) => {
          // At the start of a run there is none.
          b.if(before.nez(), () => {
            for (const at of [L.BLOCK_AFTER, L.BLOCK_AFTER + 4]) {
              block.set(b.load("i32.load", "host", before, at));
              b.br(guessed, b.load("i64.load", "host", block.get(), L.BLOCK_HOST).eq(tag));
            }
          });
          find(mode, tag, before);
        });
        const heat = b.load("i32.load", "host", block.get(), L.BLOCK_HEAT);
        b.if(
          heat.gtS(0).and(heat.sub(L.HASTE_ABOVE).geU(b.get(L.HASTE))),
          () => b.store("i32.store", "host", block.get(), heat.sub(1), L.BLOCK_HEAT),
          () => {
            const second = b.load("i32.load", "host", block.get(), L.BLOCK_SECOND);
            b.if(second.nez(), () => {
              // One instruction across two pages: the second page's mapping is not part of the key.
              const now = b.call(fetchNextPage, linear);
              b.if(now.eqz(), () => fault(b, 0, nextBlock));
              b.if(now.ne(second), () => {
                block.set(b.call(decodeCrossing, host, b.get(L.MODE).or(single.get()), now));
              });
            });
            b.if(single.get(), () => {
              const length = b.load("i32.load8_u", "host", block.get(), L.BLOCK_HEADER_BYTES + L.UOP_LENGTH);
              b.if(b.call(checkInstructionEnd, length).eqz(), () => fault(b, 0, nextBlock));
            });
            const isFlat = b
              .get(L.MODE)
              .and(L.MODE_64 | L.MODE_FLAT)
              .or(b.get(L.segLimit(L.CS)).eq(-1))
              .nez();
            const isPlain = second.or(single.get()).or(b.get(L.ATTENTION)).eqz().and(isFlat);
            b.if(isPlain.and(rip.ne(interpretAt.get())).and(b.get(L.TLB_CURRENT).ne(L.TLB_NONE)), () =>
              b.if(
                heat.geS(0),
                () => {
                  b.call(blockHot, block.get());
                  b.br(nextBlock, b.load("i32.load", "host", block.get(), L.BLOCK_HEAT).ltS(0));
                },
                () => {
                  b.if(b.call(pagesHold, block.get(), linear), () => {
                    const before = b.get(L.REMAINING);
                    b.put(L.ACTIVITY, L.ACTIVITY_REGIONS);
                    const isOut = b.variable(i32(0));
                    parkFlags(b);
                    const left = b.variable(b.callTable(heat.not(), b.keep(i32(0))));
                    const isOver = left.get().eq(LEFT_INTERPRET).or(left.get().eq(LEFT_DISPATCH));
                    b.if(isOver.eqz(), () => left.set(b.call(runRegions, 0)));
                    b.call(unparkFlags);
                    const isShort = b.get(L.REMAINING).ltS(SHORT_OF_BUDGET).and(b.get(L.REMAINING).ne(budget));
                    b.if(left.get().eq(LEFT_INTERPRET), () => {
                      interpretAt.set(b.get(L.RIP));
                      // Where little is left, most likely for that reason; who wants the rest comes back.
                      isOut.set(isShort);
                    });
                    b.put(L.ACTIVITY, L.ACTIVITY_INTERPRETER);
                    const done = before.sub(b.get(L.REMAINING)).u64();
                    b.put(L.REGION_RETIRED, b.get(L.REGION_RETIRED).add(done));
                    b.put(L.REGION_ENTRIES, b.get(L.REGION_ENTRIES).add(1));
                    b.if(isOut.get(), () => b.return(L.EXIT_BUDGET), undefined, false);
                    b.br(nextBlock);
                  });
                },
              ),
            );
            interpretAt.set(i64(NOWHERE));
          },
          true,
        );
        const left = b.keep(b.get(L.REMAINING).sub(b.load("i32.load16_u", "host", block.get(), L.BLOCK_COUNT)));
        b.if(
          left.geS(0),
          () => {
            b.put(L.REMAINING, left);
            b.br(found);
          },
          undefined,
          true,
        );
        // The budget ends inside this block: come back for more, or, if that was all of it, one instruction at a time.
        b.if(b.get(L.REMAINING).ne(budget), () => b.return(L.EXIT_BUDGET));
        single.set(i32(L.MODE_SINGLE));
        const alone = b.keep(b.get(L.MODE).or(L.MODE_SINGLE));
        find(alone, tagOf(alone));
        b.put(L.REMAINING, b.get(L.REMAINING).sub(1));
      });

      up.set(block.get().add(L.BLOCK_HEADER_BYTES));
      b.block((leaveEarly) => {
        b.loop((dispatch) => {
          // An access may have changed code or raised an interrupt: then the block ends here.
          const goOn = (bytes: number): void => {
            b.br(leaveEarly, b.get(L.ATTENTION).nez());
            up.set(up.get().add(bytes));
            b.br(dispatch);
          };
          b.block((checkedShort) => {
            b.block((checkedLong) => {
              const index = b.load("i32.load16_u", "host", up.get(), L.UOP_HANDLER);
              const cases = handlers.hot.map((handler, number) => () => {
                const { isLong } = handler.shape;
                const ends = (code: number): void => {
                  if (code === NEXT) b.br(isLong ? checkedLong : checkedShort);
                  else if (code === FAULT) fault(b, up.get(), nextBlock);
                  else if (code === BRANCH) b.br(nextBlock);
                  else b.return(b.get(L.EXIT_REASON));
                };
                // The micro-op's address does not change while a handler runs.
                const at = b.keep(up.get());
                const addressing = number < handlers.firstFlat ? "plain" : "flat";
                const accesses = buildHandler(b, handler, at, { leave: ends, inlineAccess: true, addressing });
                if (handler.record.ends) b.br(nextBlock);
                else if (accesses) b.br(isLong ? checkedLong : checkedShort);
                else {
                  up.set(at.add(isLong ? L.UOP_BYTES : L.UOP_SHORT_BYTES));
                  b.br(dispatch);
                }
              });
              // Behind the hot ones: the most frequent of all others, the end of a block that no branch ends.
              const end = handlers.table[handlers.end - handlers.hot.length];
              cases.push(() => {
                const leave = (): void => b.br(nextBlock);
                if (end) buildHandler(b, end, b.keep(up.get()), { leave, inlineAccess: true, addressing: "plain" });
              });
              b.switch(index, cases, () => {
                const at = b.keep(up.get());
                const code = b.callTable(index.sub(handlers.hot.length), at);
                b.if(code.eqz(), () => {
                  b.br(checkedLong, index.geU(handlers.firstLong));
                  b.br(checkedShort);
                });
                b.br(nextBlock, code.eq(BRANCH));
                b.if(code.eq(LEAVE), () => b.return(b.get(L.EXIT_REASON)));
                fault(b, at, nextBlock);
              });
            });
            goOn(L.UOP_BYTES);
          });
          goOn(L.UOP_SHORT_BYTES);
        });
      });
      const at = b.keep(up.get());
      b.put(
        L.RIP,
        wrap(
          b,
          b
            .get(L.BLOCK_RIP)
            .add(b.load("i64.load16_u", "host", at, L.UOP_START))
            .add(b.load("i64.load8_u", "host", at, L.UOP_LENGTH)),
        ),
      );
      b.put(L.REMAINING, b.get(L.REMAINING).add(b.load("i32.load8_u", "host", at, L.UOP_LEFT)));
      b.br(nextBlock);
    });
    b.return(L.EXIT_BUDGET);
  });

  function wrap(b: Builder, rip: Expr): Expr {
    const full = b.keep(rip);
    return select(b.get(L.MODE).and(L.MODE_64), full, full.and(0xffffffffn));
  }
  /** Delivers the pending exception of the micro-op at `at` (0: of the fetch at RIP) and goes on with its handler. */
  function fault(b: Builder, at: Expr | number, nextBlock: Parameters<Builder["br"]>[0]): void {
    if (typeof at === "number") b.call(fetchFault);
    else b.call(instructionFault, at);
    b.if(b.call(deliverException), () => b.return(L.EXIT_SHUTDOWN));
    b.br(nextBlock);
  }
}

/** A delivery counts one instruction; none of the block had been taken off. */
export const fetchFault: Routine = routine("fetch_fault", [], undefined, (b) => {
  b.put(L.REMAINING, b.get(L.REMAINING).sub(1));
  b.put(L.STEP_ARMED, 0);
});

/** RIP back to the instruction that faulted; the rest of the block is given back to the budget. */
export const instructionFault: Routine = routine("instruction_fault", ["i32"], undefined, (b, at) => {
  const rip = b.keep(b.get(L.BLOCK_RIP).add(b.load("i64.load16_u", "host", at, L.UOP_START)));
  b.put(L.RIP, select(b.get(L.MODE).and(L.MODE_64), rip, rip.and(0xffffffffn)));
  b.put(L.REMAINING, b.get(L.REMAINING).add(b.load("i32.load8_u", "host", at, L.UOP_LEFT)));
  b.put(L.STEP_ARMED, 0);
  b.put(L.WATCH_HITS, 0);
});
