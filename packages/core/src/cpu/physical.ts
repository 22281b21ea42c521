/**
 * Guest-physical memory: where RAM lies in the machine's memory, and the host's side of everything else. Page tables alone
 * are read from the RAM behind a VGA's window.
 */
import { type Builder, type Expr, i32 } from "../ir/builder.ts";
import { hostRoutine, type Routine, routine } from "../ir/routine.ts";
import { MEMORY_MAP } from "../machine/board-map.ts";
import * as L from "./layout.ts";

/** Physical address bits. */
export const MAXPHYADDR = 40;

/** Host: reads `size` bytes (1 to 16) at a physical address outside RAM to a host address. */
export const mmioRead: Routine = hostRoutine("mmio_read", ["f64", "i32", "i32"], undefined);
/** Host: writes `size` bytes from a host address to a physical address outside RAM. */
export const mmioWrite: Routine = hostRoutine("mmio_write", ["f64", "i32", "i32"], undefined);

/** Whether a physical address below 4 GiB, in its low half, is in a VGA's window, where no RAM answers. */
export const inVgaWindow = (b: Builder, phys: Expr): Expr =>
  phys.lo32().sub(MEMORY_MAP.vgaStart).ltU(b.get(L.VGA_WINDOW_BYTES));

/** i32, 0 or 1: a host address in RAM that the guest's stores do not reach (SHADOW_PROTECTED). */
export function isShadowProtected(b: Builder, host: Expr): Expr {
  const part = b.keep(host.sub(b.get(L.RAM_HOST)).sub(L.SHADOW_START).shrU(14));
  const parts = b.load("i32.load", "host", i32(L.SHADOW_PROTECTED));
  return part.ltU(L.SHADOW_BYTES >> 14).and(parts.shrU(part));
}

/** Host address of a byte of RAM or ROM, 0 if the physical address is neither. What is at ROM_HOST or above is ROM. */
export const ramHost: Routine = routine("ram_host", ["i64"], "i32", (b, phys) => {
  const low = b.keep(b.get(L.LOW_RAM_BYTES).u64());
  b.if(
    phys.ltU(low),
    () => {
      b.if(inVgaWindow(b, phys), () => b.return(0), undefined, false);
      b.return(phys.lo32().add(b.get(L.RAM_HOST)));
    },
    undefined,
    true,
  );
  const high = b.keep(phys.sub(0x100000000n));
  b.if(high.ltU(b.get(L.RAM_BYTES).u64().sub(low)), () => b.return(high.add(low).lo32().add(b.get(L.RAM_HOST))));
  const rom = b.keep(phys.sub(0x100000000n).add(b.get(L.ROM_BYTES).u64()));
  b.if(rom.ltU(b.get(L.ROM_BYTES).u64()), () => b.return(rom.lo32().add(b.get(L.ROM_HOST))));
  b.return(0);
});
