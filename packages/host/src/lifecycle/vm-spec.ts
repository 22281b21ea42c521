/**
 * The spec file of a named VM, vm.json in its folder: what it is made of, as `twinmetal run` was told it, word for word, so
 * that people can read and change it and every option survives. Relative paths in it are seen from `directory`.
 *
 *   {
 *     "version": 1,
 *     "id": "1f6c3c1e-...",
 *     "createdAt": "2026-01-31T12:00:00.000Z",
 *     "expiresAt": "2026-02-01T12:00:00.000Z",
 *     "directory": "/home/me/vms",
 *     "image": "tiny",
 *     "options": { "memory": "1G", "balloon": true, "disk": ["data.qcow2", "base.img,ephemeral"] }
 *   }
 *
 * What options there are, and what they mean, is the command line's (packages/cli).
 */
import { readFile } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { LifecycleError } from "./lifecycle-error.ts";

/** True: a flag. A list: an option that may be given several times. */
export type OptionText = true | string | readonly string[];

export interface VmSpec {
  readonly version: 1;
  /** Stays the same when the VM gets another name. */
  readonly id: string;
  readonly createdAt: string;
  /** The end of its time to live: a VM that runs is ended then, and it is not started any more. Nothing is removed. */
  readonly expiresAt?: string;
  readonly directory: string;
  readonly image?: string;
  readonly options: Readonly<Record<string, OptionText>>;
}

const MAX_SPEC_BYTES = 1024 * 1024;

export function formatSpec(spec: VmSpec): string {
  return `${JSON.stringify(spec, null, 2)}\n`;
}

/** Throws LifecycleError "bad-spec". */
export function parseSpec(text: string, path: string): VmSpec {
  const wrong = (why: string): LifecycleError =>
    new LifecycleError("bad-spec", `${path} is no VM's spec: ${why}. Mend it, or remove the VM's folder.`);
  if (text.length > MAX_SPEC_BYTES) throw wrong("it is too long");
  let spec: Partial<Record<keyof VmSpec, unknown>>;
  try {
    spec = JSON.parse(text) as typeof spec;
  } catch (error) {
    throw wrong((error as Error).message);
  }
  if (typeof spec !== "object" || spec === null || Array.isArray(spec)) throw wrong("it is no object");
  const { version, id, createdAt, expiresAt, directory, image, options } = spec;
  if (version !== 1) throw wrong(`its version is ${JSON.stringify(version)}, and this Twinmetal knows 1`);
  if (typeof id !== "string" || typeof createdAt !== "string") throw wrong("id and createdAt have to be texts");
  if (expiresAt !== undefined && (typeof expiresAt !== "string" || Number.isNaN(Date.parse(expiresAt))))
    throw wrong(`expiresAt has to be a time such as ${new Date(0).toISOString()}`);
  if (typeof directory !== "string" || !isAbsolute(directory)) throw wrong("directory has to be an absolute path");
  if (image !== undefined && typeof image !== "string") throw wrong("image has to be a text");
  if (typeof options !== "object" || options === null || Array.isArray(options)) throw wrong("options is no object");
  const bad = Object.entries(options).find(([, value]) => !isOptionText(value));
  if (bad) throw wrong(`the option ${bad[0]} has to be true, a text, or a list of texts`);
  return {
    version,
    id,
    createdAt,
    ...(expiresAt !== undefined && { expiresAt }),
    directory,
    ...(image !== undefined && { image }),
    options: options as VmSpec["options"],
  };
}

function isOptionText(value: unknown): value is OptionText {
  return value === true || typeof value === "string" || (Array.isArray(value) && value.every(isText));
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/** How long it may live still, in milliseconds; 0 and less: it is over. Undefined: for ever. */
export function timeToLive({ expiresAt }: Pick<VmSpec, "expiresAt">, nowMs: number = Date.now()): number | undefined {
  return expiresAt === undefined ? undefined : Date.parse(expiresAt) - nowMs;
}

/** Of a spec file that may be no good: whoever needs it says why. */
export async function readExpiry(path: string): Promise<string | undefined> {
  try {
    return parseSpec(await readFile(path, "utf8"), path).expiresAt;
  } catch {
    return undefined;
  }
}

/** As words of a command line, options and image. */
export function specWords({ image, options }: Pick<VmSpec, "image" | "options">): string[] {
  const words = Object.entries(options).flatMap(([name, value]) => {
    if (value === true) return [`--${name}`];
    return (typeof value === "string" ? [value] : value).map((text) => `--${name}=${text}`);
  });
  return image === undefined ? words : [image, ...words];
}
