import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  autostartUnit,
  autostartUnitName,
  autostartUnitPath,
  lingers,
  removeUnit,
  writeUnit,
} from "./autostart-unit.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tm-unit-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it("starts what is marked, and stops it", () => {
  expect(autostartUnit(["/usr/bin/node", "/opt/twinmetal.mjs"], { PATH: "/usr/bin:/bin", HOME: "/home/me" })).toBe(
    `[Unit]
Description=Twinmetal VMs that start by themselves

[Service]
Type=oneshot
RemainAfterExit=yes
Environment=PATH=/usr/bin:/bin
ExecStart=-/usr/bin/node /opt/twinmetal.mjs autostart start
ExecStop=-/usr/bin/node /opt/twinmetal.mjs autostart stop
TimeoutStartSec=1800
TimeoutStopSec=90
KillMode=mixed

[Install]
WantedBy=default.target
`,
  );
});

const ODD = { TWINMETAL_HOME: '/data/"quoted" 5%$' };

it("quotes what systemd would read otherwise", () => {
  const text = autostartUnit(["/bin/true", "/opt/with space/100% $HOME/twinmetal.mjs"], ODD);
  expect(text).toContain('ExecStart=-/bin/true "/opt/with space/100%% $$HOME/twinmetal.mjs" autostart start\n');
  expect(text).toContain('Environment="TWINMETAL_HOME=/data/\\"quoted\\" 5%%$"\n');
});

it("is a unit to systemd", async ({ skip }) => {
  if (spawnSync("systemd-analyze", ["--version"]).status !== 0) skip("there is no systemd-analyze");
  const path = join(directory, autostartUnitName(ODD));
  await writeUnit(path, autostartUnit(["/bin/true", "a b%$"], ODD));
  const { stderr } = spawnSync("systemd-analyze", ["verify", "--user", path], {
    encoding: "utf8",
    env: { ...process.env, XDG_RUNTIME_DIR: directory, SYSTEMD_LOG_LEVEL: "warning" },
  });
  expect(stderr.split("\n").filter((line) => line.includes("twinmetal"))).toEqual([]);
});

it("is written where systemd looks, once for each folder of VMs", async () => {
  const path = autostartUnitPath({ XDG_CONFIG_HOME: directory });
  expect(path).toBe(join(directory, "systemd/user/twinmetal.service"));
  expect(autostartUnitPath({ HOME: "/home/me", XDG_CONFIG_HOME: "not/absolute" })).toBe(
    "/home/me/.config/systemd/user/twinmetal.service",
  );
  expect(autostartUnitName({ TWINMETAL_HOME: "/a" })).toMatch(/^twinmetal-[0-9a-f]{8}\.service$/);
  expect([await writeUnit(path, "a"), await writeUnit(path, "a"), await writeUnit(path, "b")]).toEqual([
    true,
    false,
    true,
  ]);
  expect(readFileSync(path, "utf8")).toBe("b");
  await removeUnit(path);
  await removeUnit(path);
});

it("knows whether the user's units run without him", () => {
  expect(lingers(join(directory, "none"))).toBeUndefined();
  expect(lingers(directory)).toBe(false);
  writeFileSync(join(directory, userInfo().username), "");
  expect(lingers(directory)).toBe(true);
});
