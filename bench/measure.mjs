// The schedule: the sides in turn, round by round, first the sections and then boots of a small initial RAM disk. Native
// has nothing to boot; Twinmetal with a translation cache does nothing else.
import { existsSync, readdirSync } from "node:fs";
import { readEvents } from "./protocol.mjs";
import { runSide } from "./run-side.mjs";

const SECTION_MS = 200;
const CACHED = "twinmetal-cached";

/**
 * @param sides what can run here; @param plan { rounds, reps, bootsEachRound, only }
 * @returns { runs: { side: [run] }, boots: { side: [run] }, notes }, a run being what run-side.mjs gave, and `round`
 */
export async function measure(sides, plan, progress) {
  const { rounds, reps, bootsEachRound, only } = plan;
  const runs = Object.fromEntries(sides.map(({ id }) => [id, []]));
  const boots = Object.fromEntries(sides.map(({ id }) => [id, []]));
  const notes = [];
  const once = async (side, job, title) => {
    const step = progress.step(title);
    const result = await runSide(side.command(job), (text) => {
      if (text.startsWith("@@B")) step.at(text.startsWith("@@BOOTED") ? "booted" : text.slice(4));
    });
    await side.settled?.();
    step.done(describe(result));
    return { ...result, ...readEvents(result.events, side.clock) };
  };

  const booting = [];
  for (const side of sides) {
    if (side.id !== CACHED) {
      if (side.boots) booting.push(side);
    } else if (await fillCache(side, once)) booting.push(side);
    else notes.push(`${side.name}: left out, a first boot left nothing in its cache directory`);
  }
  const sections = { mode: "all", reps, ms: SECTION_MS, only, initrd: "initrd" };
  for (let round = 1; round <= rounds; round++) {
    for (const side of sides) {
      if (side.id === CACHED) continue;
      const run = await once(side, sections, `round ${round} of ${rounds}, ${side.name}`);
      runs[side.id].push({ ...run, round });
    }
    for (let turn = 0; turn < bootsEachRound; turn++) {
      for (const side of booting) {
        const run = await once(side, bootJob("bootInitrd"), `round ${round} of ${rounds}, boot, ${side.name}`);
        boots[side.id].push({ ...run, round });
      }
    }
  }
  return { runs, boots, notes };
}

function bootJob(initrd) {
  return { mode: "boot", reps: 1, ms: SECTION_MS, only: undefined, initrd };
}

/** Fills the cache with a boot of another initial RAM disk than the one that is measured. */
async function fillCache(side, once) {
  await once(side, bootJob("initrd"), `filling the cache of ${side.name}`);
  return hasFiles(side.cacheDirectory());
}

function hasFiles(directory) {
  return (
    existsSync(directory) && readdirSync(directory, { recursive: true, withFileTypes: true }).some((e) => e.isFile())
  );
}

function describe({ wall, cpu, exit, boot, otherCpus }) {
  const parts = [`${wall.toFixed(1)} s`, `${cpu.toFixed(1)} s CPU`];
  if (boot !== undefined) parts.push(`boot ${boot.wall.toFixed(2)} s`);
  if (exit !== 0) parts.push(`ended with ${exit}`);
  if (otherCpus > 0.1) parts.push(`others used ${otherCpus.toFixed(2)} CPUs`);
  return parts.join(", ");
}
