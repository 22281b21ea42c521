/** A VM on the kvm engine in a process that is locked down, by the program: as asked for, and as `auto` does by itself. */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { bareKernel, GUESTS } from "../../guest/bare-kernel.ts";

const DIRECTORY = "/tmp/sandbox";
const TIMEOUT_MS = 220_000;

it.each(["strict", "auto"])("--engine kvm --sandbox %s: runs a guest", { timeout: TIMEOUT_MS }, (choice) => {
  mkdirSync(DIRECTORY, { recursive: true });
  const [main, kernel] = [join(DIRECTORY, "main.mjs"), join(DIRECTORY, "kernel")];
  const index = join(process.cwd(), "packages/cli/dist/index.js");
  const reports = "process.on('exit', () => console.error(readFileSync('/proc/self/status', 'utf8')));";
  writeFileSync(
    main,
    `import { readFileSync } from "node:fs";\nimport { main } from ${JSON.stringify(index)};\n${reports}\nprocess.exit(await main(process.argv.slice(2)));\n`,
  );
  writeFileSync(kernel, bareKernel(GUESTS.hello));
  const args = [main, "run", "--engine", "kvm", "--sandbox", choice, "--memory", "64M", "--kernel", kernel];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: TIMEOUT_MS });
  expect([status, stdout]).toEqual([0, "hello, world\n"]);
  expect(stderr).not.toContain("sandbox:");
  expect(stderr).toMatch(/^Seccomp:\s*2$/m);
  expect(stderr).toMatch(/^CapEff:\s*0+$/m);
  expect(stderr).toMatch(/^Uid:\s*\d{10}\s/m);
});
