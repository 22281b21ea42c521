/**
 * The part of the nested guest that the project is: the built packages as a user installs them, koffi, the test programs
 * and what starts them. Test programs are TypeScript; Vite bundles each into one file in which
 *
 *   - modules of the packages are not copied in but imported from the built ones, so that one build is tested;
 *   - "vitest" is guest/vitest.ts, the same runner and the same expectations without the rest of Vitest.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "vite";
import type { TinyImage } from "../../packages/host/src/index.ts";
import { FileTree } from "./file-tree.ts";
import { INIT_SCRIPT } from "./guest/init-script.ts";
import { type TestProgram, THREADS } from "./programs.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const PROJECT = "twinmetal";
const TESTS = `${PROJECT}/tests`;
/** Where a VM in the guest finds the tiny image. */
const IMAGES = "root/.cache/twinmetal/images";

/** The guest cannot be made on this host. */
export class MissingPart extends Error {}

/** `load`: the initrd of the Linux under load, where it is wanted; `firmware`: files of firmware, by their paths. */
export async function buildProjectLayer(
  programs: readonly TestProgram[],
  tiny: TinyImage,
  load?: Uint8Array,
  firmware: ReadonlyMap<string, string> = new Map(),
): Promise<Uint8Array> {
  const tree = new FileTree();
  for (const [path, source] of firmware) tree.copy(path, source);
  if (load) tree.file(`${PROJECT}/load/initrd`, load);
  for (const name of ["core", "storage", "network", "host", "cli"]) {
    const source = join(repository, "packages", name);
    tree.copy(`${PROJECT}/packages/${name}/package.json`, join(source, "package.json"));
    tree.copyTree(
      `${PROJECT}/packages/${name}/dist`,
      join(source, "dist"),
      (path) => !/\.(d\.ts|map)$|tsbuildinfo$/.test(path),
    );
    tree.link(`${PROJECT}/node_modules/@twinmetal/${name}`, `../../packages/${name}`);
  }
  for (const name of ["package.json"]) tree.copy(`${PROJECT}/${name}`, join(repository, name));
  for (const name of ["bin", "lib"]) tree.copyTree(`${PROJECT}/${name}`, join(repository, name));
  addKoffi(tree);
  addReferenceVmm(tree);
  tree.copyTree(`${IMAGES}/${relative(dirname(tiny.directory), tiny.directory)}`, tiny.directory);
  tree.file("init", INIT_SCRIPT, 0o755);
  const entries = {
    "run-programs": "guest/run-programs.ts",
    "run-tests": "guest/run-tests.ts",
    ...THREADS,
    ...entriesOf(programs),
  };
  for (const [path, code] of await bundle(entries)) tree.file(`${TESTS}/${path}`, code);
  return tree.archive();
}

const entriesOf = (programs: readonly TestProgram[]): Record<string, string> =>
  Object.fromEntries(programs.map(({ name, file }) => [name, file]));

/** The FFI library with the one binary that fits the guest. */
function addKoffi(tree: FileTree): void {
  const root = findKoffi();
  if (root === undefined) throw new MissingPart("koffi is not installed (npm ci leaves it out with --omit=optional)");
  tree.copyTree(`${PROJECT}/node_modules/koffi`, root, (path) => /\.(c?js|json)$/.test(path));
  const native = join(dirname(root), "@koromix", "koffi-linux-x64");
  if (existsSync(native)) tree.copyTree(`${PROJECT}/node_modules/@koromix/koffi-linux-x64`, native);
}

/** The VMM in C that the engine is compared with; a host without a compiler leaves that comparison out. */
function addReferenceVmm(tree: FileTree): void {
  const directory = mkdtempSync(join(tmpdir(), "twinmetal-reference-"));
  const program = join(directory, "vmm");
  const folder = fileURLToPath(new URL("reference", import.meta.url));
  const sources = readdirSync(folder)
    .filter((name) => name.endsWith(".c"))
    .map((name) => join(folder, name));
  try {
    const { error, status, stderr } = spawnSync("gcc", ["-O2", "-static", "-s", "-o", program, ...sources], {
      encoding: "utf8",
    });
    if (error === undefined && status !== 0) throw new Error(`the reference VMM: ${stderr}`);
    if (status === 0) tree.copy(`${PROJECT}/reference/vmm`, program, 0o755);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function findKoffi(): string | undefined {
  try {
    const entry = createRequire(join(repository, "packages/host/package.json")).resolve("koffi");
    for (let at = dirname(entry); at !== dirname(at); at = dirname(at))
      if (existsSync(join(at, "package.json"))) return realpathSync(at);
  } catch {
    // Not installed.
  }
  return undefined;
}

async function bundle(entries: Readonly<Record<string, string>>): Promise<[path: string, code: string][]> {
  const output = await build({
    configFile: false,
    root: repository,
    logLevel: "warn",
    plugins: [builtPackages(), oneRunner()],
    ssr: { noExternal: true, target: "node" },
    build: {
      ssr: true,
      write: false,
      minify: false,
      target: "node20",
      rollupOptions: {
        input: Object.fromEntries(
          Object.entries(entries).map(([name, file]) => [name, fileURLToPath(new URL(file, import.meta.url))]),
        ),
        external: ["koffi"],
        output: { format: "es", entryFileNames: "[name].mjs", chunkFileNames: "shared/[name]-[hash].mjs" },
      },
    },
  });
  const parts = Array.isArray(output) ? output : [output];
  return parts.flatMap((part) =>
    "output" in part
      ? part.output.flatMap((file) => (file.type === "chunk" ? [[file.fileName, file.code] as [string, string]] : []))
      : [],
  );
}

/** packages/NAME/src/PATH.ts, tests excepted, is the guest's /twinmetal/packages/NAME/dist/PATH.js. */
function builtPackages(): Plugin {
  return {
    name: "built-packages",
    enforce: "pre",
    resolveId(source, importer) {
      const workspace = /^@twinmetal\/(core|storage|network|host|cli)$/.exec(source)?.[1];
      if (workspace) return external(`packages/${workspace}/dist/index.js`);
      if (!source.startsWith(".") || importer === undefined) return undefined;
      const path = relative(repository, join(dirname(importer), source));
      const [, name, below] = /^packages\/(\w+)\/src\/(.*)\.ts$/.exec(path) ?? [];
      if (name === undefined || below!.endsWith(".test")) return undefined;
      return external(`packages/${name}/dist/${below}.js`);
    },
  };
}

const external = (path: string): { id: string; external: "absolute" } => ({
  id: `/${PROJECT}/${path}`,
  external: "absolute",
});

function oneRunner(): Plugin {
  return {
    name: "guest-vitest",
    enforce: "pre",
    resolveId: (source) =>
      source === "vitest" ? fileURLToPath(new URL("guest/vitest.ts", import.meta.url)) : undefined,
  };
}
