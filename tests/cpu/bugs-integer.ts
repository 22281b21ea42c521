// Planted bugs in BMI1, BMI2, LZCNT, POPCNT, MOVBE and ADX.

import { as, changed, immediateBits, type PlantedBug, result, withResultFlags } from "./planted.ts";

export const INTEGER_BUGS: readonly PlantedBug[] = [
  { what: "BLSR isolates the lowest bit", record: "blsr", wrong: as("blsi") },
  {
    what: "BLSI sets CF for zero, as BLSR does",
    record: "blsi",
    wrong: withResultFlags((_s, _w, cf, of) => [cf.eqz(), of]),
  },
  { what: "ANDN keeps CF set", record: "andn", wrong: withResultFlags((s, _w, _cf, of) => [s.b.keep(of.eqz()), of]) },
  {
    what: "BEXTR takes its length as the whole word",
    record: "bextr",
    wrong: changed((s) => {
      const right = s.read.bind(s);
      s.read = (i) => (i === 2 ? s.b.keep(right(i).or(0x4000)) : right(i));
    }),
  },
  { what: "BZHI never sets CF", record: "bzhi", wrong: withResultFlags((_s, _w, cf, of) => [cf.and(0), of]) },
  { what: "SARX shifts in zeros", record: "sarx", wrong: as("shrx") },
  { what: "SHLX shifts right", record: "shlx", wrong: as("shrx") },
  { what: "RORX takes its count modulo 32", record: "rorx", wrong: immediateBits(31) },
  {
    what: "MULX writes the low half last",
    record: "mulx",
    wrong: changed((s) => {
      const right = s.write.bind(s);
      s.write = (i, value) => right(1 - i, value);
    }),
  },
  { what: "PDEP extracts", record: "pdep", wrong: as("pext") },
  { what: "TZCNT leaves the destination for zero, as BSF does", record: "tzcnt", wrong: as("bsf") },
  { what: "LZCNT counts from the other end, as BSR does", record: "lzcnt", wrong: as("bsr") },
  { what: "POPCNT counts one too many", record: "popcnt", wrong: result((value) => value.add(1)) },
  { what: "ADCX carries through OF", record: "adcx", wrong: as("adox") },
  { what: "MOVBE does not swap", record: "movbe", wrong: () => (s) => s.write(0, s.read(1)) },
];
