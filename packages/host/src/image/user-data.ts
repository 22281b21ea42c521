/**
 * User data as cloud-init reads it ("User data formats" of its documentation): what it does is told by its first line. Of
 * cloud-config the YAML is checked here, for a guest would pass over it and say so only in its own log. That takes the
 * package yaml, which is optional; scripts, MIME archives and templates are handed on as they are.
 * Left out: whether cloud-init knows the keys.
 */
import { ImageError } from "./image-error.ts";

/** Each makes cloud-init take it for something else. A script's interpreter is the guest's. */
const OTHER_KINDS =
  /^(?:#!|#cloud-boothook|#include(?:-once)?\b|#part-handler|#cloud-config-jsonp|## template:\s*jinja|content-type:|mime-version:)/i;
const MAX_OPEN_BRACKETS = 200;
const MAX_INDENT = 500;
const INDENT: ReadonlySet<string> = new Set(" \t-?:");
const CLOUD_CONFIG = /^#cloud-config(?:-archive)?\s*$/;

/** The parts of yaml (https://eemeli.org/yaml) that are used. */
export interface YamlLibrary {
  parseDocument(
    text: string,
    options: { readonly prettyErrors: boolean; readonly version: "1.1" },
  ): {
    readonly errors: readonly {
      readonly message: string;
      readonly linePos?: readonly { line: number; col: number }[];
    }[];
    readonly contents: unknown;
  };
  isMap(node: unknown): boolean;
  isSeq(node: unknown): boolean;
}

export async function loadYaml(): Promise<YamlLibrary | undefined> {
  try {
    return (await import("yaml")) as YamlLibrary;
  } catch {
    return undefined; // Optional.
  }
}

/**
 * Throws ImageError "IMAGE_BAD_OPTION" with line and column. `yaml` undefined: only the first line is looked at.
 * `origin` names the file in messages.
 */
export function checkUserData(bytes: Uint8Array, origin: string, yaml: YamlLibrary | undefined): void {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return; // gzip, which cloud-init unpacks.
  const text = decode(bytes, origin);
  const [first = ""] = text.split(/\r?\n/, 1);
  if (OTHER_KINDS.test(first)) return;
  if (!CLOUD_CONFIG.test(first)) {
    throw refuse(
      `${origin} is no user data: its first line is ${JSON.stringify(first.slice(0, 60))}, and cloud-init would pass over all of it.`,
      "Begin it with a line #cloud-config, or #!/bin/sh if it is a script.",
    );
  }
  if (yaml === undefined) return;
  checkNesting(text, origin);
  const isArchive = first.trim().endsWith("-archive");
  const document = yaml.parseDocument(text, { prettyErrors: true, version: "1.1" });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = error.linePos?.[0] ?? { line: 1, col: 1 };
    const [what = ""] = error.message.split(/\s+at line \d+|\n/, 1);
    throw refuse(
      `${origin} is no YAML at line ${line}, column ${col}: ${what.replace(/[.:]$/, "")}.`,
      `Mend that line: ${JSON.stringify(lineOf(text, line))}.`,
    );
  }
  const isEmpty = document.contents === null;
  if (isEmpty || (isArchive ? yaml.isSeq(document.contents) : yaml.isMap(document.contents))) return;
  throw refuse(
    `${origin} is YAML, but ${isArchive ? "no list of parts" : "no list of names and values"}.`,
    isArchive
      ? "Give parts like - type: text/cloud-config."
      : "Give lines like hostname: box, without anything before the names.",
  );
}

/** Before the parser sees it, for whose time and memory nesting has no bound. Brackets in strings count, too. */
function checkNesting(text: string, origin: string): void {
  let depth = 0;
  let indent = 0;
  let isIndent = true;
  for (let at = 0, line = 1; at < text.length; at++) {
    const character = text[at]!;
    if (character === "\n") {
      line++;
      indent = 0;
      isIndent = true;
      continue;
    }
    isIndent &&= INDENT.has(character);
    if (isIndent) indent++;
    if (character === "[" || character === "{") depth++;
    else if (character === "]" || character === "}") depth = Math.max(0, depth - 1);
    if (depth <= MAX_OPEN_BRACKETS && indent <= MAX_INDENT) continue;
    throw refuse(`${origin} is nested too deeply for YAML at line ${line}.`, "Take some levels out.");
  }
}

function decode(bytes: Uint8Array, origin: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw refuse(`${origin} is no text in UTF-8.`, "Save it as UTF-8, or give the file that you meant.");
  }
}

function lineOf(text: string, line: number): string {
  return (text.split(/\r?\n/)[line - 1] ?? "").slice(0, 80);
}

const refuse = (what: string, nextStep: string): ImageError => new ImageError("IMAGE_BAD_OPTION", what, nextStep);
