// A result as tables for people.
import { CLOCKS, median, PHASES, ratio } from "./figures.mjs";

/** Rows of cells to lines: the first column left, the others right. */
export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column] ?? "").length)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? String(cell).padEnd(widths[0]) : String(cell ?? "").padStart(widths[column]),
      )
      .join("  ")
      .trimEnd(),
  );
}

export function formatSeconds(seconds) {
  if (seconds === undefined) return "-";
  const [scale, unit] = [
    [1, "s"],
    [1e3, "ms"],
    [1e6, "us"],
    [1e9, "ns"],
  ].find(([factor]) => seconds * factor >= 1) ?? [1e9, "ns"];
  return `${Number((seconds * scale).toPrecision(3))} ${unit}`;
}

export function formatRatio(value) {
  return value === undefined ? "-" : `${value.toFixed(2)}x`;
}

export function report(result) {
  return [
    ...head(result),
    "",
    ...sectionTable(result),
    ...ratioTable(result),
    ...bootTable(result),
    "",
    ...floorTable(result),
    ...refusedList(result),
  ].join("\n");
}

function head({ machine, versions, sides, left, notes, bits, rounds, reps, quick, complete }) {
  const runs = Object.values(sides).flatMap((side) => side.runs);
  const others = runs.map(({ otherCpus }) => otherCpus).filter((value) => value !== undefined);
  const load = others.length > 0 ? `others used ${Math.max(...others).toFixed(2)} CPUs at most` : "load unknown";
  const first = runs[0]?.load?.toFixed(2) ?? "unknown";
  const names = Object.entries(versions).flatMap(([id, text]) =>
    ["node", "guest", "native"].includes(id) || text === undefined ? [] : [id === "commit" ? `commit ${text}` : text],
  );
  return [
    `${machine.cpu}, ${machine.cpus} CPUs, load ${first} at the start, ${load}`,
    `Node ${versions.node}, ${names.join(", ")}`,
    `${bits}-bit guest, ${rounds} rounds in turn, ${reps} repetitions each${quick || !complete ? "; not all sections: not to be quoted" : ""}`,
    ...Object.entries(left).map(([name, why]) => `without ${name}: ${why}`),
    ...notes,
  ];
}

function comparedWith({ sides }) {
  return ["tcg", "v86"].filter((id) => sides[id] !== undefined && sides.twinmetal !== undefined);
}

function sectionTable(result) {
  const { sides, groups, refused } = result;
  const shown = Object.entries(sides).filter(([, side]) => side.runs.length > 0);
  const references = comparedWith(result);
  const titles = references.flatMap((id) => [`to ${sides[id].name}: cold`, "warm", "warm CPU"]);
  const rows = [["section", ...shown.map(([, { name }]) => name), ...titles]];
  for (const [group, names] of Object.entries(groups)) {
    if (group === "mbench") continue;
    for (const name of names) {
      const times = shown.map(([, { samples }]) => formatSeconds(median(samples[name]?.wall.warm ?? [])));
      const ratios = references.flatMap((id) =>
        [
          ["wall", "cold"],
          ["wall", "warm"],
          ["cpu", "warm"],
        ].map(([clock, phase]) => ratio(sides.twinmetal.samples, sides[id].samples, name, clock, phase)),
      );
      const isRefused = refused[name] !== undefined;
      rows.push([
        name,
        ...times.map((time) => (isRefused ? "-" : time)),
        ...ratios.map((r) => (isRefused ? "refused" : formatRatio(r))),
      ]);
    }
  }
  return [
    ...table(rows),
    "(median wall time of one operation, warm; then Twinmetal's time as a multiple of the other's)",
    "",
  ];
}

function ratioTable({ ratios, sides, groups }) {
  return Object.entries(ratios).flatMap(([pair, means]) => {
    const title = pair.split("/").map((id) => sides[id].name);
    const columns = CLOCKS.flatMap((clock) => PHASES.map((phase) => [clock, phase]));
    return [
      ...table([
        [
          title.join(" to "),
          "sections",
          ...columns.map(([clock, phase]) => `${clock === "cpu" ? "CPU" : clock} ${phase}`),
        ],
        ...Object.keys(groups).map((group) => [
          group,
          groups[group].length,
          ...columns.map(([clock, phase]) => formatRatio(means[group]?.[clock][phase])),
        ]),
      ]),
      "",
    ];
  });
}

function bootTable({ sides }) {
  const rows = [
    ["boot, memory", "boot", "CPU", "boot of the runs", "whole run", "CPU", "peak memory", "over guest RAM"],
  ];
  const mib = (value) => (value === undefined ? "-" : `${value} MiB`);
  for (const { name, boots, sectionBoots, runs, peakMiB, overMiB } of Object.values(sides)) {
    rows.push([
      name,
      ...[boots.wall, boots.cpu, sectionBoots.wall].map((times) => formatSeconds(median(times))),
      ...["wall", "cpu"].map((clock) => formatSeconds(median(runs.map((run) => run[clock])))),
      ...[mib(peakMiB), mib(overMiB)],
    ]);
  }
  return table(rows);
}

const VERDICTS = { aim: "holds, aim reached", floor: "holds", missed: "MISSED", "no figure": "no figure" };

function floorTable({ floors, sides }) {
  const byReference = Map.groupBy?.(floors, (row) => row.against) ?? new Map([[floors[0]?.against, floors]]);
  return [...byReference].flatMap(([against, rows]) => {
    const name = sides[against]?.name ?? against;
    const number = ({ unit }, value) =>
      value === undefined ? "-" : unit === "x" ? `${value.toFixed(2)}x` : `${value.toFixed(0)} ${unit}`;
    return table([
      [`wall, ${name} = 1`, "floor", "aim", "measured", ""],
      ...rows.map((row) => [
        row.label,
        number(row, row.floor),
        number(row, row.aim),
        number(row, row.value),
        VERDICTS[row.verdict],
      ]),
    ]);
  });
}

function refusedList({ refused }) {
  const entries = Object.entries(refused);
  if (entries.length === 0) return ["", "All sides agree on every result."];
  return ["", "REFUSED, no figure, and none for its group:", ...entries.map(([name, why]) => `  ${name}: ${why}`)];
}
