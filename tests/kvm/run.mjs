// Starts main.ts, which is TypeScript, by the same means as the test runner; see there.
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const source = (name) => fileURLToPath(new URL(`../../packages/${name}/src/index.ts`, import.meta.url));
const alias = Object.fromEntries(
  ["core", "storage", "network", "host", "cli"].map((name) => [`@twinmetal/${name}`, source(name)]),
);
const root = fileURLToPath(new URL("../..", import.meta.url));
const path = fileURLToPath(new URL("main.ts", import.meta.url));
const { module } = await runnerImport(path, { configFile: false, root, resolve: { alias }, logLevel: "warn" });
process.exit(await module.main(process.argv.slice(2)));
