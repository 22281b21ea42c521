// A clone of this repository in a temporary folder, as far as a test needs it: the parts named, and with
// `install()` what `npm ci --ignore-scripts` would leave. Nothing is fetched, nothing here is changed.

import { cp, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const repository: string = fileURLToPath(new URL("..", import.meta.url));

/** Everything that the build and `npm pack` read. */
export const SOURCES: readonly string[] = [
  "package.json",
  "tsconfig.json",
  "tsconfig.base.json",
  "LICENSE",
  "README.md",
  "CHANGELOG.md",
  "bin",
  "lib",
  "tools",
  "packages",
];

export interface Clone {
  readonly root: string;
  /** Links the registry's packages from here, and the clone's own workspaces. */
  install(): Promise<void>;
  remove(): Promise<void>;
}

/** Copies `parts` of this repository, builds and installed packages excepted. */
export async function makeClone(parts: readonly string[]): Promise<Clone> {
  const root = await mkdtemp(join(tmpdir(), "twinmetal-clone-"));
  for (const part of parts) {
    await cp(join(repository, part), join(root, part), {
      recursive: true,
      filter: (source) => !/[/\\](dist|node_modules)$/.test(source),
    });
  }
  return {
    root,
    install: () => linkInstalledPackages(root),
    remove: () => rm(root, { recursive: true, force: true }),
  };
}

async function linkInstalledPackages(root: string): Promise<void> {
  const installed = join(repository, "node_modules");
  await mkdir(join(root, "node_modules", "@twinmetal"), { recursive: true });
  for (const name of await readdir(installed)) {
    if (name === "@twinmetal" || (name.startsWith(".") && name !== ".bin")) continue;
    await symlink(join(installed, name), join(root, "node_modules", name));
  }
  for (const name of await readdir(join(root, "packages"))) {
    await symlink(join(root, "packages", name), join(root, "node_modules", "@twinmetal", name));
  }
}
