/**
 * RFLAGS as POPF, IRET and task switches write it (SDM vol. 2, POPF and IRET; vol. 3, 2.3): which bits may change at
 * which privilege. CR4.VME and CR4.PVI do not exist here, so VIF and VIP are plain bits.
 */
import { type Builder, type Expr, i32, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as F from "./flags.ts";
import * as L from "./layout.ts";
import { updateEvents } from "./mode.ts";

/** Every bit that an image can set; VM is its caller's. */
export const IMAGE_FLAGS: number =
  F.RF_ARITHMETIC |
  F.RF_TF |
  F.RF_IF |
  F.RF_DF |
  F.RF_IOPL |
  F.RF_NT |
  F.RF_RF |
  F.RF_AC |
  F.RF_VIF |
  F.RF_VIP |
  F.RF_ID;

/** Writes RFLAGS from an image: the bits in `mask` (i32); VM and reserved bits never change. */
export const writeFlags: Routine = routine("write_flags", ["i32", "i32"], undefined, (b, image, mask) => {
  b.if(mask.and(F.RF_ARITHMETIC), () => b.call(F.writeArithmeticFlags, image));
  const system = b.keep(mask.and(IMAGE_FLAGS & ~F.RF_ARITHMETIC));
  b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).and(system.not()).or(image.and(system)).or(2));
  b.call(updateEvents);
});

/** The flags POPF and IRET may change at this CPL and IOPL (i32). */
export function writableFlags(b: Builder): Expr {
  const cpl = b.get(L.CPL);
  const iopl = b.get(L.SYSTEM_FLAGS).shrU(12).and(3);
  const base = F.RF_ARITHMETIC | F.RF_TF | F.RF_DF | F.RF_NT | F.RF_AC | F.RF_ID;
  const withIf = select(cpl.leU(iopl), i32(F.RF_IF), i32(0));
  return select(cpl.eqz(), i32(F.RF_IOPL), i32(0)).or(withIf).or(base);
}
