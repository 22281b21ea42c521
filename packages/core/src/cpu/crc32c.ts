/** CRC32 (SDM vol. 2): the checksum with the polynomial 11EDC6F41h, lowest bit first. */
import { i32 } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";

const POLYNOMIAL = 0x82f63b78 | 0;

/** (checksum, data, bits of data: 8, 16 or 32) -> checksum. */
export const crc32c: Routine = routine("crc32c", ["i32", "i32", "i32"], "i32", (b, checksum, data, bits) => {
  const rest = b.variable(checksum.xor(data));
  const left = b.variable(bits);
  b.loop((again) => {
    for (let i = 0; i < 8; i++) {
      const odd = i32(0).sub(rest.get().and(1));
      rest.set(rest.get().shrU(1).xor(odd.and(POLYNOMIAL)));
    }
    left.set(left.get().sub(8));
    b.br(again, left.get().nez());
  });
  b.return(rest.get());
});
