/**
 * What vCPUs that run in parallel do to memory in one step (SDM vol. 3, 9.1): WebAssembly's atomic operations, as routines
 * of their own, and the exclusive section for what those cannot do: across a cache line or a page, misaligned, 128 bits, on
 * pages of code and outside RAM. Hosts are x64: there plain loads and stores have x86's order, an atomic operation is a
 * locked instruction, and the fence is MFENCE.
 */
import { hostRoutine, type Routine, routine } from "../ir/routine.ts";

/** MFENCE. */
export const fence: Routine = routine("fence", [], undefined, (b) => {
  b.atomic("atomic.fence", undefined);
});

const parameters = (value: "i32" | "i64") => ["i32", value, value] as const;

/** (aligned host address, what is expected there, what to store) -> what was there. */
export const COMPARE_EXCHANGE: Readonly<Record<8 | 16 | 32 | 64, Routine>> = {
  8: routine("compare_exchange_8", parameters("i32"), "i32", (b, host, expected, value) =>
    b.return(b.atomic("i32.atomic.rmw8.cmpxchg_u", "i32", host, expected, value)),
  ),
  16: routine("compare_exchange_16", parameters("i32"), "i32", (b, host, expected, value) =>
    b.return(b.atomic("i32.atomic.rmw16.cmpxchg_u", "i32", host, expected, value)),
  ),
  32: routine("compare_exchange_32", parameters("i32"), "i32", (b, host, expected, value) =>
    b.return(b.atomic("i32.atomic.rmw.cmpxchg", "i32", host, expected, value)),
  ),
  64: routine("compare_exchange_64", parameters("i64"), "i64", (b, host, expected, value) =>
    b.return(b.atomic("i64.atomic.rmw.cmpxchg", "i64", host, expected, value)),
  ),
};

/** Host: from here on no other vCPU runs, nor does a device store to memory. The vCPU is in the middle of an instruction. */
export const beginExclusive: Routine = hostRoutine("begin_exclusive", [], undefined);
/** Host: ends that. Does no harm where nothing has begun. */
export const endExclusive: Routine = hostRoutine("end_exclusive", [], undefined);
