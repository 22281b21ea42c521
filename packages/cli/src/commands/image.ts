/** `twinmetal image`: disk images made, described, checked, grown and converted, without a VM. */
import { extname, resolve } from "node:path";
import { DISK_LIMITS } from "@twinmetal/core";
import { defineCommand, type Io } from "../command.ts";
import { EXIT } from "../exit-status.ts";
import { checkText, infoText } from "../image-text.ts";
import { choice, flag, option, type ParsedLine } from "../options.ts";
import { ProgressLine } from "../progress-line.ts";
import { formatSize, parseDiskSize, parseSize } from "../quantities.ts";
import { UsageError } from "../usage-error.ts";

const FORMATS = ["qcow2", "raw"] as const;
const SHOW_PROGRESS_AFTER_MS = 1000;

const OPTIONS = {
  json: flag("json", "The result as JSON."),
  format: choice("format", FORMATS, "create, convert: the new image's format; qcow2."),
  clusterSize: option(
    "cluster-size",
    "SIZE",
    "create, convert: of a qcow2 image's clusters, a power of two from 512 to 2M; 64K.",
    parseSize,
  ),
  refcountBits: option(
    "refcount-bits",
    "N",
    "create: the width of a qcow2 image's reference counts, 1 to 64, a power of two; 16.",
    parseCount,
  ),
  backing: option(
    "backing",
    "FILE",
    "create: the image whose contents the new one starts with and does not change. A relative path is relative to the new image.",
  ),
  backingFormat: choice(
    "backing-format",
    FORMATS,
    "create: of the backing file. Needed with --backing: it is not guessed.",
  ),
  fromFormat: choice("from-format", FORMATS, "convert: of the image that is read; else by its first bytes."),
  repair: choice(
    "repair",
    ["leaks", "all"],
    "check: give leaked space back; all also repairs reference counts that are too low.",
  ),
};
type ImageLine = ParsedLine<typeof OPTIONS>;
type Values = ImageLine["values"];

interface Action {
  readonly operands: readonly string[];
  /** How many of the operands may be left out. */
  readonly optional: number;
  readonly options: readonly (keyof Values)[];
  run(io: Io, operands: readonly string[], values: Values): Promise<number>;
}

const ACTIONS: Readonly<Record<string, Action>> = {
  create: {
    operands: ["FILE", "SIZE"],
    optional: 1,
    options: ["format", "clusterSize", "refcountBits", "backing", "backingFormat", "json"],
    run: create,
  },
  info: { operands: ["FILE"], optional: 0, options: ["json"], run: info },
  check: { operands: ["FILE"], optional: 0, options: ["repair", "json"], run: check },
  resize: { operands: ["FILE", "SIZE"], optional: 0, options: ["json"], run: grow },
  convert: {
    operands: ["FROM", "TO"],
    optional: 0,
    options: ["format", "fromFormat", "clusterSize", "json"],
    run: convert,
  },
};
const NAMES = Object.keys(ACTIONS);

export const IMAGE = defineCommand({
  name: "image",
  summary: "make, describe, check, grow and convert disk images",
  usage: "create FILE [SIZE] | info FILE | check FILE | resize FILE [+]SIZE | convert FROM TO [options]",
  text: [
    "Images are raw (the file is the disk) or qcow2 (takes only the space that is written, and can lie on top of a backing file). Sizes take K, M, G and T.",
    "create makes an empty disk, or with --backing one that starts with another image's contents: the backing file is then only read, so many images can share one. FILE must not exist yet. Name qcow2 images .qcow2: `run --disk` then knows the format by itself.",
    "check looks through a qcow2 image. Status: 0 clean, or repaired; 1 errors; 3 space is leaked, which does no harm. An image that was not closed, because of a crash, is looked through and repaired by itself when a VM opens it.",
    "resize makes a disk larger, by SIZE with +SIZE. convert copies a disk, its backing files merged, into a new image; zeroes take no space.",
    "An image that a VM or another program has open for writing is refused, except by info.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal image create disk.qcow2 20G", "an empty disk that takes 0.2 MB at first"],
    ["twinmetal image create test.qcow2 --backing disk.qcow2 --backing-format qcow2", "try something, keep disk.qcow2"],
    ["twinmetal image convert disk.qcow2 disk.raw --format raw", "the whole disk as a plain file"],
    ["twinmetal image check disk.qcow2 --repair leaks", "give leaked space back"],
  ],
  execute: async (io, { values, operands, rest }) => {
    const [name, ...given] = operands;
    const action = ACTIONS[name ?? ""];
    if (name === undefined || action === undefined) {
      throw new UsageError(`say what to do: twinmetal image ${NAMES.join("|")}.`);
    }
    const extra = given[action.operands.length] ?? rest?.[0];
    if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many.`);
    const missing = action.operands[given.length];
    if (given.length < action.operands.length - action.optional) {
      throw new UsageError(`${missing} is missing: twinmetal image ${name} ${action.operands.join(" ")}.`);
    }
    for (const key of Object.keys(values) as (keyof Values)[]) {
      if (!action.options.includes(key)) throw new UsageError(`image ${name} has no option --${OPTIONS[key].name}.`);
    }
    return await action.run(io, given, values);
  },
});

async function create(io: Io, [file = "", size]: readonly string[], values: Values): Promise<number> {
  const { format, clusterSize, refcountBits, backing, backingFormat } = values;
  if (backing !== undefined && backingFormat === undefined) {
    throw new UsageError("--backing needs --backing-format qcow2 or raw: it is not guessed.");
  }
  if (backing === undefined && backingFormat !== undefined) throw new UsageError("--backing-format needs --backing.");
  if (backing === undefined && size === undefined) throw new UsageError("SIZE is missing, such as 20G.");
  if (format === "raw" && (clusterSize ?? refcountBits ?? backing) !== undefined) {
    throw new UsageError("a raw image has no clusters, reference counts or backing file.");
  }
  const sizeBytes = await io.library.createImage(file, {
    format,
    sizeBytes: size === undefined ? undefined : parseDiskSize(size, DISK_LIMITS),
    clusterBytes: clusterSize,
    refcountBits,
    backing: backing === undefined ? undefined : { path: backing, format: backingFormat! },
  });
  tell(io, values, { path: file, sizeBytes }, `${file}: a disk of ${formatSize(sizeBytes)}.`);
  noteName(io, file, format);
  return EXIT.OK;
}

async function info(io: Io, [file = ""]: readonly string[], values: Values): Promise<number> {
  const found = await io.library.imageInfo(file);
  tell(io, values, found, infoText(found));
  return EXIT.OK;
}

async function check(io: Io, [file = ""]: readonly string[], values: Values): Promise<number> {
  const progress = slowProgress(io, "check");
  try {
    const onProgress = (fraction: number) => progress.report(fraction, 1);
    const result = await io.library.checkImage(file, { repair: values.repair, onProgress });
    progress.clear();
    tell(io, values, result, checkText(file, result));
    return result.errorCount > 0 ? 1 : result.leakCount > 0 ? 3 : EXIT.OK;
  } finally {
    progress.clear();
  }
}

async function grow(io: Io, [file = "", size = ""]: readonly string[], values: Values): Promise<number> {
  const isMore = size.startsWith("+");
  const bytes = parseDiskSize(isMore ? size.slice(1) : size, DISK_LIMITS);
  const sizeBytes = await io.library.growImage(file, (now) => (isMore ? now + bytes : bytes));
  tell(io, values, { path: file, sizeBytes }, `${file}: a disk of ${formatSize(sizeBytes)}.`);
  return EXIT.OK;
}

async function convert(io: Io, [from = "", to = ""]: readonly string[], values: Values): Promise<number> {
  const { format, fromFormat, clusterSize } = values;
  if (format === "raw" && clusterSize !== undefined) throw new UsageError("a raw image has no clusters.");
  if (resolve(from) === resolve(to)) throw new UsageError("FROM and TO are the same file.");
  const progress = slowProgress(io, "convert");
  const controller = new AbortController();
  const stopListening = io.onSignal("SIGINT", () => controller.abort());
  try {
    const { signal } = controller;
    const onProgress = (done: number, total: number) => progress.report(done, total);
    await io.library.convertImage(from, to, { format, fromFormat, clusterBytes: clusterSize, signal, onProgress });
    progress.clear();
    const made = await io.library.imageInfo(to);
    tell(io, values, made, infoText(made));
    noteName(io, to, format);
    return EXIT.OK;
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    progress.clear();
    io.stderr.write(`twinmetal: stopped; ${to} has been removed.\n`);
    return 130;
  } finally {
    stopListening();
    progress.clear();
  }
}

function tell(io: Io, { json }: Values, result: object, text: string): void {
  io.stdout.write(`${json ? JSON.stringify(result) : text}\n`);
}

/** `run --disk` believes a format that is not stated only where the name says the same: better known now than then. */
function noteName(io: Io, path: string, format: (typeof FORMATS)[number] = "qcow2"): void {
  const isNamed = [".qcow2", ".qcow"].includes(extname(path).toLowerCase());
  if (isNamed === (format === "qcow2")) return;
  const says = format === "qcow2" ? "is qcow2, and its name does not say so" : "is raw, and its name says qcow2";
  io.stderr.write(
    `twinmetal: ${path} ${says}. Name it otherwise, or give \`--disk ${path},format=${format}\` to a VM.\n`,
  );
}

/** Nothing for what takes less than a second. */
function slowProgress(io: Io, phase: string) {
  const line = new ProgressLine(io);
  const startMs = performance.now();
  return {
    report: (done: number, total: number) => {
      if (performance.now() - startMs > SHOW_PROGRESS_AFTER_MS) line.report({ phase, done, total });
    },
    clear: () => line.clear(),
  };
}

function parseCount(text: string): number {
  if (!/^\d{1,3}$/.test(text))
    throw new UsageError(`"${text}" is not a number of bits. Give 1, 2, 4, 8, 16, 32 or 64.`);
  return Number(text);
}
