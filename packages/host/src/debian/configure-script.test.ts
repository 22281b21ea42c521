import { execFileSync } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CONFIGURE_SCRIPT, OWN_STEPS } from "./configure-script.ts";
import { STAND_IN_PROGRAMS } from "./stand-ins.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "twinmetal-stand-ins-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

/** What a stand-in writes, when it is called with these words: where the guest has /run and /var, it has `folder`. */
function call(name: keyof typeof STAND_IN_PROGRAMS, ...words: string[]): string {
  const path = join(folder, name);
  writeFileSync(path, STAND_IN_PROGRAMS[name]!.replaceAll(/\/(?:run|var)\//g, `${folder}$&`));
  chmodSync(path, 0o755);
  return execFileSync("sh", [path, ...words], { encoding: "utf8" });
}

const innerScript = /configure <<'END'\n([\s\S]*?\n)END\n/.exec(CONFIGURE_SCRIPT)?.[1] ?? "";

it("is a script that a shell can read, and the script in it is", () => {
  expect(innerScript).toMatch(/^set -e\n/);
  for (const script of [CONFIGURE_SCRIPT, innerScript, ...Object.values(STAND_IN_PROGRAMS)])
    execFileSync("sh", ["-n"], { input: script });
  expect(innerScript.match(/^echo "Setting up /gm)).toHaveLength(OWN_STEPS);
});

it("enables a unit by the links that systemctl makes, once, and what it names beside that", () => {
  const units = join(folder, "lib/systemd/system");
  mkdirSync(units, { recursive: true });
  mkdirSync(join(folder, "run"));
  writeFileSync(join(units, "a.service"), "[Install]\nWantedBy=x.target y.target\nAlias=b.service\nAlso=c.socket\n");
  writeFileSync(join(units, "c.socket"), "[Install]\nRequiredBy=sockets.target\nAlso=a.service\n");
  writeFileSync(
    join(units, "getty@.service"),
    "[Service]\nExecStart=-/sbin/agetty *\n[Install]\nWantedBy=getty.target\n",
  );
  const functions = innerScript.slice(innerScript.indexOf("enable() {"), innerScript.indexOf("export DEBIAN"));
  const script = `set -e\n${functions}enable system a.service\nenable system getty@tty1.service\n`;
  execFileSync("sh", { input: script.replaceAll(/\/(?:lib|etc|run)\//g, `${folder}$&`) });
  const made = join(folder, "etc/systemd/system");
  const links = readdirSync(made, { recursive: true, encoding: "utf8" })
    .filter((path) => lstatSync(join(made, path)).isSymbolicLink())
    .map((path) => [path, readlinkSync(join(made, path))]);
  expect(Object.fromEntries(links)).toEqual({
    "b.service": join(units, "a.service"),
    "getty.target.wants/getty@tty1.service": join(units, "getty@.service"),
    "sockets.target.requires/c.socket": join(units, "c.socket"),
    "x.target.wants/a.service": join(units, "a.service"),
    "y.target.wants/a.service": join(units, "a.service"),
  });
});

describe("stand-ins", () => {
  it("collect the units that packages enable, and say that nothing was installed before", () => {
    mkdirSync(join(folder, "run"));
    for (const words of ["unmask 'a.service'", "--quiet was-enabled b.service", "update-state c.socket"])
      call("deb-systemd-helper", ...words.split(" "));
    call("deb-systemd-helper", "enable", "d.service");
    call("systemctl", "enable", "getty@tty1.service");
    call("systemctl", "daemon-reload");
    call("deb-systemd-helper", "--user", "enable", "e.service");
    expect(() => call("deb-systemd-helper", "debian-installed", "f.socket")).toThrow();
    expect(readFileSync(join(folder, "run/enabled"), "utf8")).toBe("d.service\ngetty@tty1.service\n");
    expect(readFileSync(join(folder, "run/enabled-user"), "utf8")).toBe("e.service\n");
  });

  it("install a new configuration file as ucf does, with its sum and its package", () => {
    mkdirSync(join(folder, "var/lib/ucf"), { recursive: true });
    const [source, target] = [join(folder, "new"), join(folder, "sshd_config")];
    writeFileSync(source, "Port 22\n");
    call("ucf", "--three-way", "--debconf-ok", source, target);
    call("ucfr", "openssh-server", target);
    expect(readFileSync(target, "utf8")).toBe("Port 22\n");
    expect(readFileSync(join(folder, "var/lib/ucf/hashfile"), "utf8")).toMatch(/^[0-9a-f]{32} {2}\S+sshd_config\n$/);
    expect(readFileSync(join(folder, "var/lib/ucf/registry"), "utf8")).toBe(`openssh-server\t${target}\n`);
  });
});
