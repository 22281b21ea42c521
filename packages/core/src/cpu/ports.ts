/** Port I/O: the permission check (SDM vol. 1, 19.5.2) and the host's side. */
import { i32, i64 } from "../ir/builder.ts";
import { hostRoutine, type Routine, routine } from "../ir/routine.ts";
import { watch } from "./debug.ts";
import { readSystem } from "./descriptors.ts";
import * as L from "./layout.ts";
import { EXC_GP, raise } from "./raise.ts";
import { isV86 } from "./segment-limits.ts";

/** (port, bytes) -> value */
export const portRead: Routine = hostRoutine("port_read", ["i32", "i32"], "i32");
/** (port, bytes, value) */
export const portWrite: Routine = hostRoutine("port_write", ["i32", "i32", "i32"], undefined);

/** Whether CPL, IOPL and the TSS's I/O bitmap allow the access: 0, or 1 = #GP(0) or a page fault is pending. */
export const checkPort: Routine = routine("check_port", ["i32", "i32"], "i32", (b, port, bytes) => {
  b.call(watch, port.u64(), bytes, 3);
  b.if(b.get(L.CR0).lo32().and(1).eqz(), () => b.return(0));
  // Virtual-8086 mode always asks the bitmap.
  const byIopl = b.get(L.CPL).leU(b.get(L.SYSTEM_FLAGS).shrU(12).and(3));
  b.if(byIopl.and(isV86(b).eqz()), () => b.return(0));
  const refuse = (): void => {
    raise(b, EXC_GP, 0);
    b.return(1);
  };
  const limit = b.get(L.segLimit(L.TR));
  // A 16-bit TSS has no bitmap.
  const isWide = b.get(L.segAttributes(L.TR)).and(8);
  b.if(isWide.eqz().or(limit.ltU(103)), refuse);
  const mapHost = b.call(readSystem, b.get(L.segBase(L.TR)).add(i64(102)), 2);
  b.if(mapHost.eqz(), () => b.return(1));
  // Two bytes are always read, so the last of them must be within the limit.
  const at = b.keep(b.load("i32.load16_u", "host", mapHost).add(port.shrU(3)));
  b.if(at.add(1).gtU(limit), refuse);
  const host = b.call(readSystem, b.get(L.segBase(L.TR)).add(at.u64()), 2);
  b.if(host.eqz(), () => b.return(1));
  const mask = i32(1).shl(bytes).sub(1).shl(port.and(7));
  b.if(b.load("i32.load16_u", "host", host).and(mask), refuse);
  b.return(0);
});
