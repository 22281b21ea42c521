// The published package as its user meets it: `npm pack` gives one file; installed into an empty project,
// with no registry reachable and no build, it imports, type-checks and starts.

import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as host from "@twinmetal/host";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const repository = fileURLToPath(new URL("..", import.meta.url));
const tsc = join(repository, "node_modules", "typescript", "bin", "tsc");
const run = promisify(execFile);

/** The environment without what `npm test` adds to it: that would point npm at this repository. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));

let project: string;
let packedFiles: string[];

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "twinmetal-pack-"));
  const npm = (...args: string[]) => ["--cache", join(project, ".npm"), "--no-update-notifier", ...args];
  const { stdout } = await run("npm", npm("pack", "--json", "--ignore-scripts", "--pack-destination", project), {
    cwd: repository,
    env: environment,
  });
  const packed = onlyPackage(JSON.parse(stdout));
  packedFiles = packed.files.map((file) => file.path);
  await writeFile(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  const install = npm("install", "--offline", "--no-audit", "--no-fund", join(project, packed.filename));
  await run("npm", install, { cwd: project, env: environment });
});

afterAll(() => rm(project, { recursive: true, force: true }));

describe("the packed package", () => {
  it("holds the build, the licence and the documents, and neither tests nor build state", () => {
    expect(packedFiles).toEqual(
      expect.arrayContaining([
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "bin/twinmetal.mjs",
        "node_modules/@twinmetal/cli/bin/twinmetal.mjs",
        "node_modules/@twinmetal/cli/dist/index.js",
        "node_modules/@twinmetal/core/dist/index.d.ts",
        "node_modules/@twinmetal/host/dist/index.js.map",
      ]),
    );
    expect(packedFiles.filter((path) => /\.test\.|\.tsbuildinfo$|\/src\//.test(path))).toEqual([]);
  });

  it("needs no other package", async () => {
    const installed = (await readdir(join(project, "node_modules"))).filter((name) => !name.startsWith("."));
    expect(installed).toEqual(["twinmetal"]);
  });

  it("imports as a library and, for browsers, as the core alone", async () => {
    const script = 'await import("twinmetal"); await import("twinmetal/browser"); console.log("ok");';
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: project });
    expect(stdout).toBe("ok\n");
  });

  it("links the program", async () => {
    const program = join(project, "node_modules", ".bin", "twinmetal");
    const { code, stderr } = await run(program, ["--version"], { cwd: project }).then(
      () => ({ code: 0, stderr: "" }),
      (error: { code: number; stderr: string }) => error,
    );
    expect(stderr).not.toMatch(/ERR_MODULE_NOT_FOUND|\n\s+at /);
    expect([0, 125]).toContain(code);
  });
});

describe("its types", () => {
  const everything = 'import * as library from "twinmetal";\nimport * as browser from "twinmetal/browser";\n';

  it("check against the DOM library alone, declaration files included", async () => {
    await expectToCompile(`${everything}export const all: object[] = [library, browser];\n`, {
      types: [],
      lib: ["ES2023", "DOM"],
      skipLibCheck: false,
    });
  });

  it("check in a project with Node's types and a bundler's resolution", async () => {
    await linkNodeTypes();
    await expectToCompile(`${everything}export const all: object[] = [library, browser];\n`, {
      types: ["node"],
      lib: ["ES2023"],
      module: "esnext",
      moduleResolution: "bundler",
      skipLibCheck: true,
    });
  });

  it.skipIf(!("createVm" in host))("fit the README's library example", async () => {
    await linkNodeTypes();
    const readme = await readFile(join(repository, "README.md"), "utf8");
    const example = /```ts\n(import [^`]*"twinmetal";[^`]*)```/.exec(readme)?.[1];
    expect(example).toBeDefined();
    await expectToCompile(example ?? "", { types: ["node"], lib: ["ES2023"], skipLibCheck: true });
  });
});

/** `npm pack --json` prints a list, or an object by name, depending on npm's version. */
function onlyPackage(report: unknown): { filename: string; files: { path: string }[] } {
  const all = Object.values(report as Record<string, { filename: string; files: { path: string }[] }>);
  if (all.length !== 1 || !all[0]) throw new Error(`npm pack made ${all.length} packages, not one`);
  return all[0];
}

async function linkNodeTypes(): Promise<void> {
  for (const name of ["@types", "undici-types"]) {
    const target = join(repository, "node_modules", name);
    await symlink(target, join(project, "node_modules", name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}

async function expectToCompile(source: string, options: object): Promise<void> {
  const compilerOptions = { noEmit: true, strict: true, target: "es2023", module: "nodenext", ...options };
  await writeFile(join(project, "consumer.ts"), source);
  await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
  const output = await run(process.execPath, [tsc, "-p", project]).then(
    () => "",
    (error: { stdout: string }) => error.stdout,
  );
  expect(output).toBe("");
}
