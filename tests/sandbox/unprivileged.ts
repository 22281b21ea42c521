/**
 * What tests of the sandbox need to run as another user: a copy of the build that everybody can read, since a checkout may lie
 * where only its owner gets to, and the users to run as.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repository } from "../clone.ts";

/** Anybody who owns nothing. */
export const OTHER_USER = 65533;

export interface ReadableBuild {
  readonly root: string;
  /** A directory that this user owns. */
  directoryOf(userId: number): string;
  remove(): void;
}

export function readableBuild({ hasKoffi = true } = {}): ReadableBuild {
  const root = mkdtempSync(join(tmpdir(), "twinmetal-sandbox-"));
  chmodSync(root, 0o755);
  for (const name of ["core", "storage", "network", "host", "cli"]) {
    for (const part of ["dist", "bin", "package.json"]) {
      const from = join(repository, "packages", name, part);
      if (existsSync(from)) cpSync(from, join(root, "node_modules/@twinmetal", name, part), { recursive: true });
    }
  }
  for (const name of hasKoffi ? ["koffi", "@koromix"] : []) {
    const from = join(repository, "node_modules", name);
    if (existsSync(from)) cpSync(from, join(root, "node_modules", name), { recursive: true });
  }
  let directories = 0;
  return {
    root,
    directoryOf: (userId) => {
      const directory = join(root, `own-${++directories}`);
      mkdirSync(directory, { mode: 0o700 });
      if (process.getuid?.() === 0) spawnSync("chown", [`${userId}:${userId}`, directory]);
      return directory;
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** Why the sandbox cannot be tried here; undefined: it can. */
export function whyNoSandbox(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return "the sandbox is Linux's on x86-64";
  try {
    createRequire(join(repository, "x.js"))("koffi");
    return undefined;
  } catch {
    return "koffi is not installed";
  }
}
