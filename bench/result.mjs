// The result of a benchmark as one object, which is what is kept and what the tables are made from: versions, machine,
// every sample, what was refused, ratios of groups, floors.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { refusals } from "./agreement.mjs";
import { groupRatios, median, samplesOf } from "./figures.mjs";
import { judge } from "./floors.mjs";
import { groupsFor } from "./sections.mjs";

const MIB = 2 ** 20;
const FORMAT = 1;

/**
 * @param options what the user asked for; @param sides the sides that ran; @param left { side name: why it did not }
 * @param measured what measure.mjs returned
 */
export function makeResult({ options, guest, sides, left, measured, at }) {
  const { runs, boots, notes } = measured;
  const groups = groupsFor(guest.bits, options.only);
  const labelled = sides.flatMap(({ id, name }) => (runs[id] ?? []).map((run) => ({ label: name, ...run })));
  const refused = refusals(labelled, [...new Set(Object.values(groups).flat())]);
  for (const { id, name, boots: boot } of sides) {
    for (const { exit, tail } of [...(runs[id] ?? []), ...(boots[id] ?? [])]) {
      if (exit !== 0) refused.set(`the run of ${name}`, `it ended with ${exit}: ${tail.trim().split("\n").at(-1)}`);
    }
    if (boot && (boots[id] ?? []).some((run) => run.boot === undefined)) refused.set(`boot of ${name}`, "not booted");
  }
  const samples = Object.fromEntries(sides.map(({ id }) => [id, samplesOf(runs[id] ?? [])]));
  const ratios = {};
  const pairs = sides.flatMap(({ id }) => ["native", "tcg", "v86"].map((reference) => [id, reference]));
  for (const [id, reference] of pairs) {
    const has = (side) => Object.keys(samples[side] ?? {}).length > 0;
    if (!has(id) || !has(reference) || id === reference || (reference !== "native" && id !== "twinmetal")) continue;
    ratios[`${id}/${reference}`] = groupRatios(samples[id], samples[reference], groups, refused);
  }
  const result = {
    format: FORMAT,
    at,
    quick: options.quick,
    complete: options.only === undefined,
    bits: guest.bits,
    rounds: options.rounds,
    reps: options.reps,
    only: options.only,
    extra: options.extra,
    machine: machine(),
    versions: versions(sides, guest),
    left,
    notes,
    sides: Object.fromEntries(sides.map((side) => [side.id, sideResult(side, samples[side.id], runs, boots)])),
    refused: Object.fromEntries(refused),
    groups,
    ratios,
  };
  return { ...result, floors: floorsOf(result) };
}

/** Every reference that the issue of floors names and that should have run has rows, with or without a figure. */
function floorsOf({ bits, sides, ratios }) {
  const figure = (clock) => (id) => median(sides[id]?.boots[clock] ?? []);
  const bootWall = Object.fromEntries(Object.keys(sides).map((id) => [id, figure("wall")(id)]));
  const over = sides.twinmetal?.overMiB;
  const judgedAgainst = bits === 64 ? ["tcg"] : ["v86"];
  return judgedAgainst.flatMap((against) => judge(against, ratios[`twinmetal/${against}`] ?? {}, bootWall, over));
}

function sideResult({ id, name, boots: isMachine }, samples, runs, boots) {
  const own = runs[id] ?? [];
  // Of the native side it would be the shell's.
  const memory = isMachine ? own : [];
  const times = (list) => ({
    wall: list.flatMap(({ boot }) => (boot === undefined ? [] : [boot.wall])),
    cpu: list.flatMap(({ boot }) => (boot === undefined ? [] : [boot.cpu])),
  });
  const toMiB = (bytes) => (bytes === undefined ? undefined : Math.round(bytes / MIB));
  const highest = (values) =>
    values.some((v) => v !== undefined) ? Math.max(...values.filter((v) => v > 0)) : undefined;
  return {
    name,
    /** Of the small initial RAM disk, and of the runs with the sections. */
    boots: times(boots[id] ?? []),
    sectionBoots: times(own),
    peakMiB: highest(memory.map(({ peakBytes }) => toMiB(peakBytes))),
    overMiB: highest(memory.map(({ overGuestBytes }) => toMiB(overGuestBytes))),
    runs: own.map(({ round, wall, cpu, load, otherCpus }) => ({ round, wall, cpu, load, otherCpus })),
    samples,
  };
}

function machine() {
  const all = cpus();
  return { cpu: all[0]?.model.trim(), cpus: all.length, memoryMiB: Math.round(totalmem() / MIB), kernel: release() };
}

function versions(sides, guest) {
  const git = (...args) =>
    spawnSync("git", args, { encoding: "utf8", cwd: fileURLToPath(new URL(".", import.meta.url)) });
  const commit = git("rev-parse", "--short=12", "HEAD").stdout?.trim();
  const dirty = git("status", "--porcelain", "--untracked-files=no").stdout?.trim() !== "";
  const packages = existsSync(guest.versions) ? readFileSync(guest.versions, "utf8").trim().split("\n") : [];
  return {
    node: process.version,
    commit: commit ? `${commit}${dirty ? " and changes" : ""}` : undefined,
    ...Object.fromEntries(sides.filter(({ id }) => id !== "twinmetal-cached").map((side) => [side.id, side.version()])),
    guest: packages,
  };
}

/** Where a result is kept by default: named after the time, what was run, and sorted by name. */
export function resultFile({ at, quick, complete, bits }) {
  const kind = [bits === 32 ? "32-bit" : [], quick ? "quick" : complete ? [] : "part"].flat();
  const name = [at.slice(0, 16).replace(/[:]/g, ""), ...kind].join("-");
  return fileURLToPath(new URL(`results/${name}.json`, import.meta.url));
}

export function keepResult(result, file) {
  mkdirSync(dirname(file), { recursive: true });
  const round = (_key, value) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
  writeFileSync(file, `${JSON.stringify(result, round, 1)}\n`);
}
