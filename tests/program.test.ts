// The program's shim before anything works: an old Node, a clone without a build, a broken installation.
// Each case gets one clear cause and the next step on standard error, status 125, and no stack trace.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type Clone, makeClone, repository, SOURCES } from "./clone.ts";

const SHIM = join("packages", "cli", "bin");
let clone: Clone | undefined;

afterEach(() => clone?.remove());

describe("twinmetal", () => {
  it("turns an old Node away and says what to do", async () => {
    const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } });";
    const preload = `data:text/javascript,${encodeURIComponent(pretend)}`;
    const { code, stderr } = await twinmetal(repository, [], ["--import", preload]);
    expect(code).toBe(125);
    expect(stderr).toMatch(/^twinmetal needs Node 20 or newer; this is Node 18\.20\.4\.\nDebian 12's own nodejs/);
  });

  it("names npm ci in a clone where nothing is installed", async () => {
    clone = await makeClone([SHIM, "tsconfig.json"]);
    const { code, stderr } = await twinmetal(clone.root);
    expect(code).toBe(125);
    expect(stderr).toMatch(/^twinmetal: not built yet, .* Run `npm ci` in .*\n$/);
  });

  it("calls an installation without its build incomplete", async () => {
    clone = await makeClone([SHIM]);
    const { code, stderr } = await twinmetal(clone.root);
    expect(code).toBe(125);
    expect(stderr).toMatch(/^twinmetal: this installation is incomplete: .* Install the package again\.\n$/);
  });

  it("builds a clone that is installed but not built, and then starts", async () => {
    clone = await makeClone(SOURCES);
    await clone.install();
    const { stdout, stderr } = await twinmetal(clone.root, ["version"]);
    expect(stdout).not.toContain("building");
    expect(stderr).toMatch(/^twinmetal: not built yet; building once\.\.\.\n/);
    expect(stderr).not.toMatch(/the build failed|\n\s+at /);
  });

  it("ends without a word, as by SIGPIPE, when nobody reads what it prints", async () => {
    const shim = join(repository, SHIM, "twinmetal.mjs");
    const child = spawn(process.execPath, [shim, "help"], { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.destroy();
    let said = "";
    child.stderr.on("data", (bytes) => {
      said += bytes;
    });
    const [status] = await once(child, "close");
    expect({ status, said }).toEqual({ status: 141, said: "" });
  });
});

interface Ending {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the shim of the clone at `root`. */
function twinmetal(root: string, args: readonly string[] = [], nodeArgs: readonly string[] = []): Promise<Ending> {
  const shim = join(root, SHIM, "twinmetal.mjs");
  return new Promise((resolve) => {
    execFile(process.execPath, [...nodeArgs, shim, ...args], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}
