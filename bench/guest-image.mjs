// Where the guest is: a directory that bench/guest/build.sh made, or makes now. Without a name it is kept in the user's
// cache directory, named after the recipe's hash, so that a changed recipe is never measured with an old guest.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const RECIPE = fileURLToPath(new URL("guest/", import.meta.url));

export function cacheDirectory() {
  const base = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  return join(base, "twinmetal", "bench");
}

function recipeHash() {
  const hash = createHash("sha256");
  for (const name of readdirSync(RECIPE).sort()) hash.update(name).update(readFileSync(join(RECIPE, name)));
  return hash.digest("hex").slice(0, 12);
}

function filesIn(directory, bits) {
  const file = (name) => join(directory, name);
  return {
    bits,
    kernel: file(`vmlinuz${bits}`),
    initrd: file(`ird${bits}.cpio`),
    bootInitrd: file(`boot${bits}.cpio.gz`),
    root: file(`root${bits}`),
    versions: file("versions.txt"),
  };
}

function isComplete({ kernel, initrd, bootInitrd }) {
  return [kernel, initrd, bootInitrd].every((file) => existsSync(file));
}

/**
 * @param named the user's directory; it is used as it is if it has a guest
 * @param onBuild called when a build starts, with its log file
 * @returns { bits, kernel, initrd, bootInitrd, root, versions }; throws when the build fails
 */
export async function provideGuest({ bits, named, onBuild }) {
  const hash = recipeHash();
  const kept = (which) => join(cacheDirectory(), `guest-${hash}-${which}`);
  // The larger one, built for 32 bits, has the 64-bit guest too.
  const candidates = named !== undefined ? [named] : bits === 64 ? [kept(64), kept(32)] : [kept(32)];
  for (const directory of candidates) {
    const found = filesIn(directory, bits);
    if (isComplete(found)) return found;
  }
  const [directory] = candidates;
  // One of its own that is renamed at the end: two builds at once cannot mix, and a broken one is never used.
  const place = named ?? `${directory}.${process.pid}`;
  mkdirSync(place, { recursive: true });
  const log = named === undefined ? `${directory}.log` : join(place, "build.log");
  onBuild(log);
  await build(place, bits, log);
  if (named === undefined) {
    try {
      renameSync(place, directory);
    } catch (error) {
      rmSync(place, { recursive: true, force: true });
      if (!isComplete(filesIn(directory, bits))) throw error;
    }
  }
  return filesIn(directory, bits);
}

async function build(directory, bits, log) {
  mkdirSync(dirname(log), { recursive: true });
  const output = openSync(log, "w");
  const args = [join(RECIPE, "build.sh"), directory, ...(bits === 32 ? ["--with-32bit"] : [])];
  const status = await new Promise((resolve, reject) => {
    const child = spawn("bash", args, { stdio: ["ignore", output, output] });
    child.on("error", reject);
    child.on("close", resolve);
  }).finally(() => closeSync(output));
  if (status === 0) return;
  const last = readFileSync(log, "utf8").trimEnd().split("\n").slice(-5).join("\n");
  throw new Error(`the guest could not be built (${log}):\n${last}`);
}
