// The examples of docs/guide that take long: several guests each, or disks.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { repository } from "../clone.ts";
import { example, fromPage, inFolder, run } from "./guide-examples.ts";

describe("docs/guide/run.md", () => {
  example("replays what it has recorded", async () => {
    const { status, stdout, stderr } = await run("sh", [
      "-c",
      await fromPage("run.md", "twinmetal run --record bug.rec", 2),
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^[0-9a-f-]{36}\n\{"stateHash":"[0-9a-f]{64}","retired":\d+\}\n$/);
  });
});

describe("docs/guide/untrusted-code.md", () => {
  example("runs code within limits, from a program and from the command line", async () => {
    const page = await readFile(join(repository, "docs", "guide", "untrusted-code.md"), "utf8");
    await writeFile(inFolder("untrusted.mjs"), /```ts\n(import [^`]*)```/.exec(page)?.[1] ?? "");
    const { status, stdout, stderr } = await run(process.execPath, ["untrusted.mjs"]);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "0 2 + 3 is 5\ntwinmetal\n\n", stderr: "" });
    const line = await run("sh", ["-c", await fromPage("untrusted-code.md", "twinmetal run -m 128M")]);
    expect(line).toMatchObject({ status: 0, stdout: "no harm done\n" });
  });
});

describe("docs/guide/persistent-vm.md", () => {
  example("keeps on a disk what a VM of the tiny image writes", async () => {
    const text = await fromPage("persistent-vm.md", "twinmetal image create data.qcow2", 7);
    const { status, stdout } = await run("sh", ["-c", `export TWINMETAL_HOME=${inFolder("home")}\n${text}`]);
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: "data.qcow2: a disk of 1 GiB.\nkeeper\nkeeper: off\nkeeper: running\nstill here\nkeeper: removed\n",
    });
  });

  example("lets a VM and its clone go on from the same state", async () => {
    const text = await fromPage("persistent-vm.md", "twinmetal run -d --name work", 7);
    const home = inFolder("home");
    const { status, stdout } = await run("sh", ["-c", `export TWINMETAL_HOME=${home}\n${text}`]);
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: "work\ncopy: saved\nwork: saved\nwork: running\ncopy: running\nhere\nwork: removed\ncopy: removed\n",
    });
  });
});

describe("docs/guide/persistent-vm.md, a state in a file", () => {
  example("becomes another VM that stays", async () => {
    const text = await fromPage("persistent-vm.md", "twinmetal run -d --name old", 7);
    const { status, stdout } = await run("sh", ["-c", `export TWINMETAL_HOME=${inFolder("home")}\n${text}`]);
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: "old\nold: running\nold: removed\nnew\nkept\nnew: removed\n",
    });
  });
});

describe("docs/guide/resources.md", () => {
  example("gives a VM memory and processors while it runs, and takes them back", async () => {
    const memory = await fromPage("resources.md", "twinmetal run -d --name roomy", 5);
    const processors = await fromPage("resources.md", "twinmetal set roomy cpus=3", 4);
    const lines = `export TWINMETAL_HOME=${inFolder("roomy")}\n${memory}\n${processors}\ntwinmetal rm --force roomy`;
    const { status, stdout, stderr } = await run("sh", ["-c", lines]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/\nmemory +768 MiB\n/);
    expect(stdout).toMatch(/\nballoon +128 MiB\n/);
    expect(stdout).toMatch(/\nprocessors +3, 4 at most\nmemory +512 MiB, 1 GiB at most, balloon .*auto, .* resident\n/);
  });
});

describe("docs/guide/disks.md", () => {
  example("keeps what was written to a disk, and not what was written to an ephemeral one", async () => {
    const { status, stdout } = await run("sh", [
      "-c",
      await fromPage("disks.md", "twinmetal image create data.qcow2", 4),
    ]);
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: "data.qcow2: a disk of 1 GiB.\nkept\n",
    });
  });
});
