/**
 * The time-stamp counter as RDTSC reads it (SDM vol. 3, 18.17), without leaving WebAssembly: the straight line that the
 * machine's clock follows (machine/guest-clock.ts), which the host leaves in the state block when it is first asked, and
 * in front of each run from then on. It holds until the run ends or an MSR is written.
 */
import { hostRoutine, type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";

const NS_PER_SECOND = 1_000_000_000n;

/** (retired instructions) -> TSC, where it does not set TSC_KNOWN and what goes with it. */
const readTsc: Routine = hostRoutine("read_tsc", ["i64"], "i64");

/** The counter after `retired` instructions, a count not before that of the run's beginning. */
export const timeStamp: Routine = routine("time_stamp", ["i64"], "i64", (b, retired) => {
  b.if(
    b.get(L.TSC_KNOWN).eqz(),
    () => {
      const told = b.keep(b.call(readTsc, retired));
      b.if(b.get(L.TSC_KNOWN).eqz(), () => b.return(told));
    },
    undefined,
    false,
  );
  b.return(b.call(knownTimeStamp, retired));
});

/** The same where TSC_KNOWN is 1. */
export const knownTimeStamp: Routine = routine("known_time_stamp", ["i64"], "i64", (b, retired) => {
  const ps = b.get(L.TSC_PS).add(retired.sub(b.get(L.TSC_RETIRED)).mul(b.get(L.TSC_PS_PER_INSTRUCTION)));
  const ns = b.keep(b.get(L.TSC_NS).add(ps.divU(1000)));
  const seconds = b.keep(ns.divU(NS_PER_SECOND));
  const khz = b.keep(b.get(L.TSC_KHZ));
  const rest = ns.sub(seconds.mul(NS_PER_SECOND)).mul(khz).divU(1_000_000);
  b.return(seconds.mul(khz).mul(1000).add(rest).add(b.get(L.TSC_OFFSET)));
});
