/** The version of this library and of the program, which the two sides of a migration tell each other. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nearest } from "../nearest-file.ts";

let known: string | undefined;

export function libraryVersion(): string {
  known ??= readVersion(nearest(fileURLToPath(import.meta.url), "package.json") ?? "");
  return known;
}

function readVersion(folder: string): string {
  return (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string }).version;
}
