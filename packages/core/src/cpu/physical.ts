/** Guest-physical memory: where RAM lies in the machine's memory, and the host's side of everything else. */
import { hostRoutine, type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";

/** Physical address bits. */
export const MAXPHYADDR = 40;

/** Host: reads `size` bytes (1 to 16) at a physical address outside RAM to a host address. */
export const mmioRead: Routine = hostRoutine("mmio_read", ["f64", "i32", "i32"], undefined);
/** Host: writes `size` bytes from a host address to a physical address outside RAM. */
export const mmioWrite: Routine = hostRoutine("mmio_write", ["f64", "i32", "i32"], undefined);

/** Host address of a byte of RAM or ROM, 0 if the physical address is neither. What is at ROM_HOST or above is ROM. */
export const ramHost: Routine = routine("ram_host", ["i64"], "i32", (b, phys) => {
  const low = b.keep(b.get(L.LOW_RAM_BYTES).u64());
  b.if(phys.ltU(low), () => b.return(phys.lo32().add(b.get(L.RAM_HOST))), undefined, true);
  const high = b.keep(phys.sub(0x100000000n));
  b.if(high.ltU(b.get(L.RAM_BYTES).u64().sub(low)), () => b.return(high.add(low).lo32().add(b.get(L.RAM_HOST))));
  const rom = b.keep(phys.sub(0x100000000n).add(b.get(L.ROM_BYTES).u64()));
  b.if(rom.ltU(b.get(L.ROM_BYTES).u64()), () => b.return(rom.lo32().add(b.get(L.ROM_HOST))));
  b.return(0);
});
