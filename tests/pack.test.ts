// The published package as its user meets it: `npm pack` gives one file; installed into an empty project,
// with no registry reachable and no build, it imports, type-checks and starts. Packed in a clone, because
// packing builds, and rewrites the manifest for a moment.

import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Clone, makeClone, repository, SOURCES } from "./clone.ts";

const tsc = join(repository, "node_modules", "typescript", "bin", "tsc");
const run = promisify(execFile);

/** The environment without what `npm test` adds to it: that would point npm at this repository. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));

let clone: Clone;
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "twinmetal-pack-"));
  const npm = (...args: string[]) => ["--cache", join(project, ".npm"), "--no-update-notifier", ...args];
  clone = await makeClone(SOURCES);
  await clone.install();
  await run("npm", npm("pack", "--pack-destination", project), { cwd: clone.root, env: environment });
  const packed = (await readdir(project)).filter((name) => name.endsWith(".tgz"));
  expect(packed).toHaveLength(1);
  await writeFile(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  const install = npm("install", "--offline", "--no-audit", "--no-fund", join(project, packed[0] ?? ""));
  await run("npm", install, { cwd: project, env: environment });
});

afterAll(async () => {
  await clone?.remove();
  await rm(project, { recursive: true, force: true });
});

describe("the packed package", () => {
  it("holds the build, the licence and the documents, and neither sources nor build state", async () => {
    const files = await readdir(join(project, "node_modules", "twinmetal"), { recursive: true });
    expect(files).toEqual(
      expect.arrayContaining([
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "bin/twinmetal.mjs",
        "node_modules/@twinmetal/cli/bin/twinmetal.mjs",
        "node_modules/@twinmetal/cli/dist/program/cli/index.js",
        "node_modules/@twinmetal/cli/dist/program/vm/vm-worker.js",
        "node_modules/@twinmetal/core/dist/index.d.ts",
        "node_modules/@twinmetal/host/dist/index.js.map",
        "node_modules/@twinmetal/network/dist/index.js",
        "node_modules/@twinmetal/storage/dist/index.js",
      ]),
    );
    expect(files.filter((path) => /\.test\.|\.tsbuildinfo$|[/\\](src|packages)[/\\]/.test(path))).toEqual([]);
  });

  it("leaves the manifest that it was made from as it was", async () => {
    const before = await readFile(join(repository, "package.json"), "utf8");
    expect(await readFile(join(clone.root, "package.json"), "utf8")).toBe(before);
  });

  it("needs no other package, and runs nothing when installed", async () => {
    const { scripts } = JSON.parse(await readFile(join(project, "node_modules", "twinmetal", "package.json"), "utf8"));
    expect(scripts).toBeUndefined();
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
  it("of the browser's part check against the DOM library alone, declaration files included", async () => {
    const source = 'import * as browser from "twinmetal/browser";\nexport const all: object[] = [browser];\n';
    await expectToCompile(source, { types: [], lib: ["ES2023", "DOM"], skipLibCheck: false });
  });

  it("check in a project with Node's types and a bundler's resolution, declaration files included", async () => {
    await linkNodeTypes();
    const source =
      'import * as library from "twinmetal";\nimport * as browser from "twinmetal/browser";\n' +
      "export const all: object[] = [library, browser];\n";
    await expectToCompile(source, {
      types: ["node"],
      lib: ["ES2023", "DOM"],
      module: "esnext",
      moduleResolution: "bundler",
      skipLibCheck: false,
    });
  });

  it("fit the README's library example", async () => {
    await linkNodeTypes();
    const readme = await readFile(join(repository, "README.md"), "utf8");
    const example = /```ts\n(import [^`]*"twinmetal";[^`]*)```/.exec(readme)?.[1];
    expect(example).toBeDefined();
    await expectToCompile(example ?? "", { types: ["node"], lib: ["ES2023"], skipLibCheck: true });
  });
});

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
