// The product's benchmark, `npm run bench`; bench/README.md tells what it measures and by which rules.
import { mkdirSync } from "node:fs";
import { join, relative } from "node:path";
import { cacheDirectory, provideGuest } from "./guest-image.mjs";
import { measure } from "./measure.mjs";
import { BadUsage, HELP, parseOptions } from "./options.mjs";
import { createProgress } from "./progress.mjs";
import { report } from "./report.mjs";
import { keepResult, makeResult, resultFile } from "./result.mjs";
import { endAll } from "./run-side.mjs";
import { QUICK } from "./sections.mjs";
import { createSides } from "./sides.mjs";
import { fetchV86, V86_VERSION } from "./v86.mjs";

const STATUS = { ok: 0, missed: 1, unusable: 2 };

async function main(argv) {
  const options = parseOptions(argv);
  if (options.help) {
    console.log(HELP);
    return STATUS.ok;
  }
  if (options.quick) options.only ??= QUICK;
  const progress = createProgress();
  const guest = await aGuest(options, progress);
  const v86Directory = options.sides.includes("v86") ? aV86(progress) : undefined;
  const { sides, left } = usable(createSides(guest, { extra: options.extra, v86Directory }), options.sides);
  for (const [name, why] of Object.entries(left)) progress.say(`without ${name}: ${why}`);
  if (sides.length === 0) throw new BadUsage("no side can run here.");
  const at = new Date().toISOString();
  try {
    const plan = { ...options, bootsEachRound: options.quick ? 1 : 2 };
    const measured = await measure(sides, plan, progress);
    const result = makeResult({ options, guest, sides, left, measured, at });
    const file = options.output === "-" ? undefined : (options.output ?? resultFile(result));
    if (file !== undefined) keepResult(result, file);
    console.log(options.json ? JSON.stringify(result) : report(result));
    if (file !== undefined) progress.say(`kept in ${relative(process.cwd(), file)}`);
    return verdict(result, options, progress);
  } finally {
    for (const side of sides) side.tidy?.();
  }
}

async function aGuest({ bits, guest }, progress) {
  let step;
  const onBuild = (log) => {
    step = progress.step(`building the guest, once (${log})`);
  };
  const found = await provideGuest({ bits, named: guest, onBuild });
  step?.done("built");
  return found;
}

function aV86(progress) {
  const directory = join(cacheDirectory(), `v86-${V86_VERSION}`);
  mkdirSync(directory, { recursive: true });
  try {
    fetchV86(directory);
  } catch (error) {
    progress.say(error.message);
  }
  return directory;
}

function usable(all, wanted) {
  const left = {};
  const sides = all.filter(({ id, name, problem }) => {
    if (!wanted.includes(id)) return false;
    const why = problem();
    if (why !== undefined) left[name] = why;
    return why === undefined;
  });
  return { sides, left };
}

function verdict({ refused, floors }, options, progress) {
  const missed = options.floors ? floors.filter(({ verdict }) => verdict === "missed" || verdict === "no figure") : [];
  for (const { label, verdict } of missed) progress.say(`floor ${verdict}: ${label.trim()}`);
  return missed.length > 0 || Object.keys(refused).length > 0 ? STATUS.missed : STATUS.ok;
}

for (const [signal, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
]) {
  process.on(signal, () => {
    endAll();
    process.exit(status);
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(
    error instanceof BadUsage ? `${error.message}\nSee npm run bench -- --help.` : `bench: ${error.message}`,
  );
  process.exitCode = STATUS.unusable;
}
