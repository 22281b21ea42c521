/**
 * A policy's file: JSON, or a module whose default export is one (.mjs, .js; .ts and .mts where Node takes types away by itself). A
 * module is run in a thread of its own, within a time and some memory; only data comes out of it.
 */
import { readFile, stat } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { dataDirectory } from "../data-directory.ts";
import { checkPolicy, type Policy, PolicyError } from "./policy.ts";

const MAX_POLICY_BYTES = 1024 * 1024;
const MODULE_MS = 10_000;
const MODULE_HEAP_MB = 128;
const SCRIPTS: readonly string[] = [".mjs", ".js"];
const TYPED: readonly string[] = [".ts", ".mts"];

/** What holds where no other file is named, if it is there: beside the user's VMs. */
export function defaultPolicyPath(): string {
  return join(dataDirectory(), "policy.json");
}

/** Undefined: no `path` is given, and there is no default file. Rejects with PolicyError "bad-policy". */
export async function readPolicy(path?: string): Promise<{ path: string; policy: Policy } | undefined> {
  const file = resolve(path ?? defaultPolicyPath());
  try {
    const { size } = await stat(file);
    if (size > MAX_POLICY_BYTES) throw new Error(`it has more than ${MAX_POLICY_BYTES} bytes`);
    return { path: file, policy: checkPolicy(await contentOf(file)) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (path === undefined && code === "ENOENT") return undefined;
    const why = code === "ENOENT" ? "it is not there" : message;
    throw new PolicyError("bad-policy", `${file} cannot be used as a policy: ${why}`.replace(/([^.])$/, "$1."), {
      cause: error,
    });
  }
}

async function contentOf(file: string): Promise<unknown> {
  const kind = extname(file).toLowerCase();
  if (SCRIPTS.includes(kind)) return await moduleValue(file);
  if (TYPED.includes(kind)) {
    if ("typescript" in process.features && process.features.typescript) return await moduleValue(file);
    throw new Error(
      `Node ${process.versions.node} does not run TypeScript. Write it as .mjs or .json, or take Node 24`,
    );
  }
  return JSON.parse(await readFile(file, "utf8"));
}

const MODULE = `
import { parentPort, workerData } from "node:worker_threads";
const { default: policy } = await import(workerData);
if (policy === undefined) throw new Error("it has no default export");
try {
  parentPort.postMessage(policy);
} catch ({ message }) {
  throw new Error(message);
}
`;

async function moduleValue(file: string): Promise<unknown> {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(MODULE)}`), {
    workerData: pathToFileURL(file).href,
    env: {},
    execArgv: ["--no-warnings"],
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: MODULE_HEAP_MB },
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise((resolveValue, reject) => {
      timer = setTimeout(() => reject(new Error(`it has not answered within ${MODULE_MS / 1000} s`)), MODULE_MS);
      worker.once("message", resolveValue);
      worker.once("error", (error) => reject(new Error(error instanceof Error ? error.message : String(error))));
      worker.once("exit", () => reject(new Error("it ended without a policy")));
    });
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
