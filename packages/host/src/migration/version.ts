/** The version of this library, which the two sides of a migration tell each other. */
import { readFileSync } from "node:fs";

let known: string | undefined;

export function libraryVersion(): string {
  known ??= (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string })
    .version;
  return known;
}
