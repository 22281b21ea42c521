// The command line of `npm run bench`.
import { parseArgs } from "node:util";

export const HELP = `Usage: npm run bench -- [options] [-- OPTIONS OF twinmetal run]

Runs one guest natively (in a chroot, as root), under QEMU's TCG and under Twinmetal in turn, compares every checksum,
output and status, and prints times, ratios, memory, and which floors and aims of docs/specification.md hold. The result
is kept in bench/results/. Takes under 20 minutes.

  --quick            some sections of each group, fewer repetitions: under 4 minutes, for a look, not to be quoted
  --v86              the 32-bit guest on all sides, and v86 (fetched from npm) as one of them
  --guest DIR        the directory that bench/guest/build.sh made or, if it has no guest yet, is to fill
                     (default: in the user's cache directory, built the first time, about a minute)
  --only NAME,..     only these sections
  --rounds N         how often the sides take turns (default 3; --quick 2, --v86 2)
  --reps N           how often a section runs in one VM: the first is cold, the others are warm (default 3; 2 with --quick or --v86)
  --side NAME,..     only these of native, tcg, v86, twinmetal, twinmetal-cached (that one only boots)
  --no-floors        only measure: a missed floor is no failure
  --json             the result as JSON on standard output instead of tables
  --output FILE      where the result is kept (- for nowhere)
  -h, --help         this text

Status: 0 when all sides agree and every floor holds; 1 when a floor is missed or cannot be judged, or results differ; 2
for bad usage or when nothing could be run.`;

export class BadUsage extends Error {}

const NAMES = /^[A-Za-z0-9_]+(,[A-Za-z0-9_]+)*$/;
const SIDES = ["native", "tcg", "v86", "twinmetal", "twinmetal-cached"];

export function parseOptions(argv) {
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const boolean = { type: "boolean", default: false };
  const string = { type: "string" };
  let values;
  try {
    ({ values } = parseArgs({
      args: argv.slice(0, end),
      options: {
        quick: boolean,
        v86: boolean,
        guest: string,
        only: string,
        rounds: string,
        reps: string,
        side: string,
        "no-floors": boolean,
        json: boolean,
        output: string,
        help: { ...boolean, short: "h" },
      },
    }));
  } catch (error) {
    throw new BadUsage(error.message);
  }
  if (values.only !== undefined && !NAMES.test(values.only)) {
    throw new BadUsage("--only: names of sections with commas between them, such as fib,sqlite.");
  }
  const sides = values.side?.split(",") ?? (values.v86 ? SIDES : SIDES.filter((side) => side !== "v86"));
  const unknown = sides.find((side) => !SIDES.includes(side));
  if (unknown !== undefined) throw new BadUsage(`--side: there is no "${unknown}", only ${SIDES.join(", ")}.`);
  if (sides.includes("v86") && !values.v86) throw new BadUsage("--side v86 needs --v86: it runs the 32-bit guest.");
  return {
    quick: values.quick,
    bits: values.v86 ? 32 : 64,
    guest: values.guest,
    only: values.only?.split(","),
    rounds: count(values.rounds, "--rounds") ?? (values.quick || values.v86 ? 2 : 3),
    reps: count(values.reps, "--reps") ?? (values.quick || values.v86 ? 2 : 3),
    sides,
    extra: argv.slice(end + 1),
    floors: !values["no-floors"],
    json: values.json,
    output: values.output,
    help: values.help,
  };
}

function count(text, name) {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 20) throw new BadUsage(`${name}: a number from 1 to 20.`);
  return value;
}
