// The examples of README.md and of docs/guide that need a guest of Linux, run as they stand there, with the built program and package.
// Those that take longer: examples.long.test.ts.

import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { repository } from "../clone.ts";
import { example, fromPage, inFolder, run } from "./guide-examples.ts";

describe("README.md", () => {
  example("has a library example that runs", async () => {
    const readme = await readFile(join(repository, "README.md"), "utf8");
    const source = /```ts\n(import [^`]*"twinmetal";[^`]*)```/.exec(readme)?.[1] ?? "";
    expect(source.trim().split("\n").length).toBeLessThanOrEqual(11);
    await writeFile(inFolder("example.mjs"), source);
    const { status, stdout, stderr } = await run(process.execPath, ["example.mjs"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^Linux twinmetal .* x86_64 GNU\/Linux\n exit status 0\n$/);
  });
});

describe("docs/guide/run.md", () => {
  example("passes input, output and status of a command", async () => {
    expect(await run("sh", ["-c", await fromPage("run.md", "echo hello | twinmetal run")])).toEqual({
      status: 0,
      stdout: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  -\n7\n",
      stderr: "",
    });
  });

  example("types what it is piped into the shell, and ends", async () => {
    const { status, stdout } = await run("sh", ["-c", await fromPage("run.md", "printf 'cd /proc")]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/\nMemTotal: +\d+ kB\r\n/);
  });

  example("gives the guest several processors", async () => {
    const { status, stdout } = await run("sh", ["-c", await fromPage("run.md", "twinmetal run --cpus 4")]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "4\n" });
  });
});

describe("docs/guide/persistent-vm.md", () => {
  example("keeps a VM that runs, answers to its name, and is removed", async () => {
    const made = await fromPage("persistent-vm.md", "twinmetal run -d --name box", 3);
    const copied = await fromPage("persistent-vm.md", "echo remember", 4);
    const removed = await fromPage("persistent-vm.md", "twinmetal rm --force box");
    const home = inFolder("home");
    const script = `export TWINMETAL_HOME=${home}\n${made}\n${copied}\n${removed}`;
    const { status, stdout, stderr } = await run("sh", ["-c", script]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(
      /^box\nLinux box .*\nNAME .*\nbox +running +(?:jit|kvm) +\d+ .*\n\{"files":1,.*\nbox: removed\n$/,
    );
    expect(await readFile(inFolder("back.txt"), "utf8")).toBe("remember\n");
    expect((await stat(inFolder("here/agent"))).mode & 0o777).toBe(0o755);
  });
});

describe("docs/guide/persistent-vm.md, without a guest", () => {
  it("says how long a VM lives", async () => {
    const made = await fromPage("persistent-vm.md", "twinmetal create --name web", 2);
    const set = await fromPage("persistent-vm.md", "twinmetal set web");
    const home = inFolder("home");
    const { status, stdout, stderr } = await run("sh", ["-c", `export TWINMETAL_HOME=${home}\n${made}\n${set}`]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/\nlives until +20\S+Z \((?:6|7) days left\)\n/);
    expect(stdout).toMatch(
      /\n--on-crash +restart\n--on-reboot +stop\non-crash +stop\nlives until +\S+ \((?:11|12) h left\)\nautostart +off\n$/,
    );
  });
});

describe("docs/guide/persistent-vm.md, starting with the host", () => {
  it("marks a VM, with a unit for systemd or without systemd", async () => {
    const text = await fromPage("persistent-vm.md", "twinmetal create --name mail", 3);
    const home = inFolder("home");
    const script = `export TWINMETAL_HOME=${home} XDG_CONFIG_HOME=${inFolder("config")}\n${text}`;
    const { status, stdout } = await run("sh", ["-c", script]);
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^mail\nunit +\S+\/systemd\/user\/twinmetal-[0-9a-f]{8}\.service: .*\nstarts .*\nVM +mail: off\nmail: does not start by itself\n$/,
    );
  });
});

describe("docs/guide/policies.md", () => {
  it("says what a policy would do to a VM", async () => {
    const written = await fromPage("policies.md", 'printf \'{ "admission"', 3);
    const home = inFolder("policies");
    const { status, stdout, stderr } = await run("sh", ["-c", `export TWINMETAL_HOME=${home}\n${written}`]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/\n +defaults\.limits\.cpu +default +the VM gets 0\.5\n/);
    expect(stdout).toMatch(/\n +admission\.memoryRatio +met +0 MiB run, 256 MiB more, and [\d.]+ MiB at most\n/);
    expect(stdout).toMatch(/\nvm would be started\n\{"policy":"[^"]*team\.json","name":"vm","verdict":"taken",/);
  });
});

describe("docs/guide/network.md", () => {
  example("gives a card the address that was asked for", async () => {
    const { status, stdout } = await run("sh", ["-c", await fromPage("network.md", "twinmetal run --net loopback")]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "52:54:00:12:34:56\n" });
  });
});

describe("docs/guide/resources.md", () => {
  example("runs a command within limits", async () => {
    const { status, stdout } = await run("sh", ["-c", await fromPage("resources.md", "twinmetal run --limit cpu=90%")]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "quick enough\n" });
  });
});

describe("docs/guide/sharing-files.md", () => {
  example("gives a guest folders of the host, and takes what it writes", async () => {
    const { status, stdout } = await run("sh", ["-c", await fromPage("sharing-files.md", "mkdir -p in out", 3)]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "12\n" });
  });

  example("has them there at the first prompt, under the names they were given", async () => {
    const line = `echo 'cat /share/work/in/numbers' | ${await fromPage("sharing-files.md", "twinmetal run --share .:work")}`;
    const { status, stdout } = await run("sh", ["-c", line.replace(/ -- .*/, "")]);
    expect(status).toBe(0);
    expect(stdout).toContain("3 4\r\n");
  });
});

describe("docs/guide/disks.md", () => {
  example("has its disks there at the first prompt", async () => {
    expect(await run("twinmetal", ["image", "create", "data.qcow2", "1G"])).toMatchObject({ status: 0 });
    const line = "echo 'test -b /dev/vda && echo the disk is' there | twinmetal run --disk data.qcow2,readonly";
    const { status, stdout } = await run("sh", ["-c", line]);
    expect(status).toBe(0);
    expect(stdout).toContain("\nthe disk is there\r\n");
  });
});

describe("docs/guide/agent.md", () => {
  example("runs commands, moves files, tells addresses and turns the guest off", async () => {
    const page = await readFile(join(repository, "docs", "guide", "agent.md"), "utf8");
    await writeFile(inFolder("agent.mjs"), /```ts\n(import [^`]*)```/.exec(page)?.[1] ?? "");
    const { status, stdout, stderr } = await run(process.execPath, ["agent.mjs"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^1\n2\n3\n 0\neth0 10\.\d+\.\d+\.\d+\n(?:.*\n)*Twinmetal's tiny image\noff\n$/);
  });
});

describe("docs/guide/cloud-init.md", () => {
  example("tells where user data is no YAML", async () => {
    const { status, stderr } = await run("sh", ["-c", await fromPage("cloud-init.md", "printf '#cloud-config", 2)]);
    expect(status).toBe(2);
    expect(stderr).toContain("bad.yaml is no YAML at line 3, column 1");
  });
});
