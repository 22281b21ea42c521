// The program's shim before anything works: an old Node, a clone without a build, a broken installation.
// Each case gets one clear cause and the next step on standard error, status 125, and no stack trace.

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const repository = fileURLToPath(new URL("..", import.meta.url));
let clone: string;

beforeEach(async () => {
  clone = await mkdtemp(join(tmpdir(), "twinmetal-clone-"));
});
afterEach(() => rm(clone, { recursive: true, force: true }));

describe("twinmetal", () => {
  it("turns an old Node away and says what to do", async () => {
    const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } });";
    const { code, stderr } = await twinmetal(
      repository,
      "--import",
      `data:text/javascript,${encodeURIComponent(pretend)}`,
    );
    expect(code).toBe(125);
    expect(stderr).toMatch(/^twinmetal needs Node 20 or newer; this is Node 18\.20\.4\.\nDebian 12's own nodejs/);
  });

  it("names npm ci in a clone where nothing is installed", async () => {
    await copyToClone("packages/cli/bin", "tsconfig.json");
    const { code, stderr } = await twinmetal(clone);
    expect(code).toBe(125);
    expect(stderr).toMatch(/^twinmetal: not built yet, .* Run `npm ci` in .*\n$/);
  });

  it("calls an installation without its build incomplete", async () => {
    await copyToClone("packages/cli/bin");
    const { code, stderr } = await twinmetal(clone);
    expect(code).toBe(125);
    expect(stderr).toMatch(/^twinmetal: this installation is incomplete: .* Install the package again\.\n$/);
  });

  it("builds a clone that is installed but not built, and then starts", async () => {
    const sources = (await readdir(join(repository, "packages"))).flatMap((name) =>
      ["bin", "src", "package.json", "tsconfig.json"].map((part) => join("packages", name, part)),
    );
    await copyToClone("package.json", "tsconfig.json", "tsconfig.base.json", ...sources);
    await linkInstalledPackages();
    const { stdout, stderr } = await twinmetal(clone, "--", "version");
    expect(stdout).not.toContain("building");
    expect(stderr).toMatch(/^twinmetal: not built yet; building once\.\.\.\n/);
    expect(stderr).not.toMatch(/the build failed|\n\s+at /);
  });
});

/** Runs the shim of the clone at `root`; arguments up to "--" are Node's own. */
function twinmetal(root: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const split = args.indexOf("--");
  const nodeArgs = split < 0 ? args : args.slice(0, split);
  const ownArgs = split < 0 ? [] : args.slice(split + 1);
  const shim = join(root, "packages", "cli", "bin", "twinmetal.mjs");
  return new Promise((resolve) => {
    execFile(process.execPath, [...nodeArgs, shim, ...ownArgs], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

async function copyToClone(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await cp(join(repository, path), join(clone, path), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
}

/** As `npm ci --ignore-scripts` leaves it: the registry's packages, and the clone's own workspaces. */
async function linkInstalledPackages(): Promise<void> {
  const own = join(clone, "node_modules", "@twinmetal");
  await mkdir(own, { recursive: true });
  for (const name of await readdir(join(repository, "node_modules"))) {
    if (name === "@twinmetal" || name.startsWith(".")) continue;
    await symlink(join(repository, "node_modules", name), join(clone, "node_modules", name));
  }
  for (const name of await readdir(join(clone, "packages"))) {
    await symlink(join(clone, "packages", name), join(own, name));
  }
}
