/** The hot path of a load or store: its host address through the TLB, in line. */
import { hostAddress, tlbHit } from "../cpu/access.ts";
import * as L from "../cpu/layout.ts";
import { tlbEntry } from "../cpu/tlb.ts";
import { type Builder, type Expr, i32 } from "../ir/builder.ts";

/** A store between its probe and its commit. */
export interface Probe {
  readonly width: number;
  readonly host: Expr;
}

export interface TlbAccess {
  readonly bytes: number;
  readonly way: typeof L.TLB_READ | typeof L.TLB_WRITE;
  /** The running micro-op's address. */
  readonly up: Expr;
  /** Where the TLB does not have it: the host address, or 0 and a fault is pending. */
  slow(address: Expr): Expr;
  /** Passes the fault on. */
  fail(): void;
}

export function hostThroughTlb(b: Builder, address: Expr, { bytes, way, up, slow, fail }: TlbAccess): Expr {
  const va = b.keep(address);
  const entry = b.keep(tlbEntry(b.get(L.TLB_CURRENT), va));
  const hit = b.keep(tlbHit(b, entry, va, bytes, way));
  const host = b.variable(i32(0));
  b.if(
    hit,
    () => host.set(hostAddress(b, entry, va)),
    () => {
      b.put(L.CURRENT_UOP, up);
      host.set(slow(va));
      b.if(host.get().eqz(), fail);
    },
    true,
  );
  return b.keep(host.get());
}
