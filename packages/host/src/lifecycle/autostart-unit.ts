/**
 * What starts VMs with the host, or when their user logs in: one user unit of systemd (systemd.unit(5), systemd.service(5)),
 * which runs `twinmetal autostart start`, and `twinmetal autostart stop` at the end. Which VMs is said in their specs.
 *
 * The unit is started once and remains (oneshot, RemainAfterExit), with the VMs' processes in its control group.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir, userInfo } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { homeSuffix } from "../data-directory.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** Of the environment, what decides where VMs, images and programs are. */
const KEPT = ["PATH", "TWINMETAL_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] as const;
/** Images may be made at the first start. */
const START_S = 1800;
/** What all guests may take to turn off; systemd waits a little longer. */
export const AUTOSTART_STOP_S = 60;
const GRACE_S = 30;

/** Another folder of VMs ($TWINMETAL_HOME) has a unit of its own. */
export function autostartUnitName(env: Env = process.env): string {
  return `twinmetal${homeSuffix(env)}.service`;
}

/** systemd.unit(5), "User Unit Search Path". */
export function autostartUnitPath(env: Env = process.env): string {
  const { XDG_CONFIG_HOME: config, HOME: home } = env;
  const base = config !== undefined && isAbsolute(config) ? config : join(home || homedir(), ".config");
  return join(base, "systemd", "user", autostartUnitName(env));
}

/** `program`: what comes before a command of `twinmetal`, absolute paths. */
export function autostartUnit(program: readonly string[], env: Env = process.env): string {
  const run = (verb: string): string => [...program, "autostart", verb].map((word) => quoted(word, true)).join(" ");
  const kept = KEPT.flatMap((name) => (env[name] ? [`Environment=${quoted(`${name}=${env[name]}`)}`] : []));
  return `${[
    "[Unit]",
    "Description=Twinmetal VMs that start by themselves",
    "",
    "[Service]",
    "Type=oneshot",
    "RemainAfterExit=yes",
    ...kept,
    // One VM that does not start ends none of the others.
    `ExecStart=-${run("start")}`,
    `ExecStop=-${run("stop")}`,
    `TimeoutStartSec=${START_S}`,
    `TimeoutStopSec=${AUTOSTART_STOP_S + GRACE_S}`,
    "KillMode=mixed",
    "",
    "[Install]",
    "WantedBy=default.target",
  ].join("\n")}\n`;
}

/** systemd.syntax(7), "Quoting"; specifiers are doubled, and on a command line variables, too. */
function quoted(word: string, isCommand = false): string {
  const text = word
    .replaceAll("\\", "\\\\")
    .replaceAll('"', '\\"')
    .replaceAll("\n", "\\n")
    .replaceAll("%", "%%")
    .replaceAll("$", isCommand ? "$$$$" : "$");
  return /^[\w@+=:,./$%-]+$/.test(text) ? text : `"${text}"`;
}

/** Replaces it at once. False: it was so already. */
export async function writeUnit(path: string, text: string): Promise<boolean> {
  if ((await readFile(path, "utf8").catch(() => undefined)) === text) return false;
  await mkdir(dirname(path), { recursive: true });
  const aside = `${path}.${process.pid}`;
  await writeFile(aside, text);
  await rename(aside, path);
  return true;
}

export async function removeUnit(path: string): Promise<void> {
  await rm(path, { force: true });
}

/** The user's units run from the host's start on (loginctl(1), enable-linger). Undefined: that cannot be known. */
export function lingers(folder = "/var/lib/systemd/linger"): boolean | undefined {
  try {
    return existsSync(folder) ? existsSync(join(folder, userInfo().username)) : undefined;
  } catch {
    return undefined;
  }
}
