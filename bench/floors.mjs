// What is promised (docs/specification.md): Twinmetal's wall time as a multiple of another side's in the same run. A
// floor has to hold; an aim is what the work is for.

const AGAINST_TCG = [
  { id: "mbench", label: "mbench steady, geometric mean", group: "mbench", phase: "warm", floor: 0.8, aim: 0.5 },
  { id: "float", label: "  float group", group: "float", phase: "warm", floor: 0.4, aim: 0.2 },
  { id: "kernel", label: "  kernel group", group: "kernel", phase: "warm", floor: 1.3, aim: 0.8 },
  { id: "programs-warm", label: "programs, warm", group: "programs", phase: "warm", floor: 1.4, aim: 0.7 },
  { id: "programs-cold", label: "programs, cold", group: "programs", phase: "cold", floor: 2.0, aim: 1.0 },
  { id: "boot", label: "boot, nothing cached", boot: "twinmetal", floor: 3.0, aim: 1.5 },
  { id: "boot-cached", label: "boot, translation cache", boot: "twinmetal-cached", floor: 1.5, aim: 1.0 },
];

/** At least three times as fast, each group. */
const AGAINST_V86 = [
  ...["kernel", "integer", "float", "memory"].map((group) => ({
    id: group,
    label: `${group} group`,
    group,
    phase: "warm",
  })),
  { id: "programs-warm", label: "programs, warm", group: "programs", phase: "warm" },
  { id: "programs-cold", label: "programs, cold", group: "programs", phase: "cold" },
  { id: "boot", label: "boot, nothing cached", boot: "twinmetal" },
].map((row) => ({ ...row, floor: 1 / 3 }));

/** Host memory beyond the guest RAM that was touched, after the whole benchmark. */
export const MEMORY_FLOOR_MIB = 250;

export const FLOORS = { tcg: AGAINST_TCG, v86: AGAINST_V86 };

/**
 * @param against "tcg" or "v86"
 * @param groups wall ratios as figures.mjs gives them
 * @param boots { side: median seconds }
 * @param overMiB Twinmetal's memory over touched guest RAM, if it could be measured
 * @returns rows with value (undefined: no figure) and verdict: "aim", "floor", "missed" or "no figure"
 */
export function judge(against, groups, boots, overMiB) {
  const rows = FLOORS[against].map((row) => {
    const value =
      row.group === undefined ? divide(boots[row.boot], boots[against]) : groups[row.group]?.wall[row.phase];
    return judged({ against, unit: "x", ...row }, value);
  });
  if (against === "tcg") {
    const label = "memory over touched guest RAM";
    rows.push(judged({ against, unit: "MiB", id: "memory", label, floor: MEMORY_FLOOR_MIB }, overMiB));
  }
  return rows;
}

function judged(row, value) {
  const verdict =
    value === undefined
      ? "no figure"
      : row.aim !== undefined && value <= row.aim
        ? "aim"
        : value <= row.floor
          ? "floor"
          : "missed";
  return { ...row, value, verdict };
}

function divide(a, b) {
  return a === undefined || b === undefined ? undefined : a / b;
}
