// One vitest configuration for all workspaces. Three projects, chosen with --project:
//   unit    packages/*/src/**/*.test.ts   beside the code, fast, no build needed; bench/*.test.mjs too
//   system  tests/**/*.test.ts            the program and the package as a user meets them; needs the build
//   long    **/*.long.test.ts             only by `npm run test:long`
// In all of them @twinmetal/NAME is that package's source, so that a test never meets a stale build.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string): string => fileURLToPath(new URL(`packages/${path}`, import.meta.url));
/** The longer names first: a name stands for all that begin with it. */
const alias = {
  "@twinmetal/core/engine": source("core/src/engine/index.ts"),
  "@twinmetal/core/vcpu": source("core/src/engine/vcpu.ts"),
  "@twinmetal/core/translation": source("core/src/jit/index.ts"),
  "@twinmetal/core/large-bytes": source("core/src/memory/large-bytes.ts"),
  ...Object.fromEntries(
    ["core", "storage", "network", "host", "cli"].map((name) => [`@twinmetal/${name}`, source(`${name}/src/index.ts`)]),
  ),
};
/** Kept translations are a run's own: what a test gets must not depend on what earlier runs have left. */
const globalSetup = ["tests/kept-translations.ts"];
const LONG = "**/*.long.test.ts";
const NEVER = ["**/node_modules/**", "**/dist/**"];

export default defineConfig({
  resolve: { alias },
  test: {
    projects: [
      {
        extends: true,
        // A file's first test may compile the core module, which takes a while on a busy host. Modules are shared by the files of
        // a worker: loading them for each took as long as a third of all tests.
        test: {
          name: "unit",
          isolate: false,
          include: ["packages/*/src/**/*.test.ts", "bench/*.test.mjs"],
          exclude: [...NEVER, LONG],
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        extends: true,
        test: {
          name: "system",
          globalSetup,
          include: ["tests/**/*.test.ts"],
          exclude: [...NEVER, LONG],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: "long",
          globalSetup,
          include: ["packages/*/src/**/*.long.test.ts", "tests/**/*.long.test.ts"],
          exclude: NEVER,
          testTimeout: 30 * 60_000,
          hookTimeout: 10 * 60_000,
        },
      },
    ],
  },
});
