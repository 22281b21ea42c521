// v86 for comparison: its npm package is fetched when it is asked for, into the cache directory, and is no dependency of
// this project. It boots through SeaBIOS, which comes from Debian's package.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const V86_VERSION = "0.5.462";
export const V86_BIOS = ["/usr/share/seabios/bios.bin", "/usr/share/seabios/vgabios-stdvga.bin"];

export function v86Package(directory) {
  return join(directory, "node_modules", "v86");
}

/** Fetches it unless it is there; throws with npm's last words. */
export function fetchV86(directory) {
  if (existsSync(v86Package(directory))) return;
  mkdirSync(directory, { recursive: true });
  const args = ["install", "--prefix", directory, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"];
  const run = spawnSync("npm", [...args, `v86@${V86_VERSION}`], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`npm could not fetch v86 ${V86_VERSION}:\n${(run.stderr ?? "").slice(-1000)}`);
}

export function v86Version(directory) {
  try {
    return JSON.parse(readFileSync(join(v86Package(directory), "package.json"), "utf8")).version;
  } catch {
    return undefined;
  }
}

export function v86Problem(directory) {
  if (v86Version(directory) === undefined) return "its npm package could not be fetched";
  return V86_BIOS.every((file) => existsSync(file)) ? undefined : "no SeaBIOS: apt-get install seabios";
}
