// After tsc: puts the core module's bytes into packages/core/dist/interp/prebuilt-image.js, so that a VM need not make
// them (packages/core/src/interp/prebuilt.ts). Does nothing if no file of the core has changed since.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../packages/core/dist", import.meta.url));
const image = join(dist, "interp", "prebuilt-image.js");

/** Of one literal: a parser's buffer for it is memory that glibc's allocator would otherwise keep from then on. */
const PIECE_BYTES = 36 * 1024;

const hash = createHash("sha256");
const files = readdirSync(dist, { recursive: true }).filter((name) => name.endsWith(".js"));
for (const name of files.sort()) {
  const file = join(dist, name);
  if (file !== image) hash.update(`${name}\0`).update(readFileSync(file));
}
const build = hash.digest("hex");
const made = `// ${build}\n`;

if (!readFileSync(image, "utf8").startsWith(made)) {
  const { coreModuleBytes } = await import(new URL("../packages/core/dist/interp/core.js", import.meta.url).href);
  const [shared, own] = [coreModuleBytes(true), coreModuleBytes(false)];
  const different = [...shared.keys()].filter((at) => shared[at] !== own[at]);
  if (shared.length !== own.length || different.length !== 1)
    throw new Error(`the two core modules differ in ${different.length} bytes, not in the memory's limits alone`);
  const pieces = [];
  for (let at = 0; at < shared.length; at += PIECE_BYTES)
    pieces.push(Buffer.from(shared.subarray(at, at + PIECE_BYTES)).toString("base64"));
  const text = `export const image = () => ${JSON.stringify(pieces, undefined, " ")};\nexport const LIMITS_AT = ${different[0]};\nexport const BUILD = "${build}";\n`;
  const temporary = `${image}.${process.pid}`;
  writeFileSync(temporary, made + text);
  renameSync(temporary, image);
}
