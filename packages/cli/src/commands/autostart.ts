/** `twinmetal autostart`: which VMs start by themselves, and what starts them. */
import { existsSync } from "node:fs";
import { dropAutostart, ensureAutostart, markedVms, systemctl, withMark } from "../autostart.ts";
import { defineCommand, type Io } from "../command.ts";
import { EXIT } from "../exit-status.ts";
import { namedVms, whileStarting } from "../named-vms.ts";
import { flag } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import {
  AUTOSTART_STOP_S,
  autostartUnitName,
  autostartUnitPath,
  isAllowed,
  type LifecycleState,
  lingers,
} from "../vm-library.ts";

const VERBS = ["enable", "disable", "status", "start", "stop"] as const;
type Verb = (typeof VERBS)[number];

export const AUTOSTART = defineCommand({
  name: "autostart",
  summary: "start VMs that stay when you log in, or with the host",
  usage: "enable|disable NAME... | status [--json] | start | stop",
  text: [
    "enable marks VMs (as --autostart of `twinmetal create` does), and writes a user unit of systemd that starts all that are marked (~/.config/systemd/user/twinmetal.service; each TWINMETAL_HOME has its own) and stops them at the end. It starts when you log in; with the host, without anybody logged in, after: loginctl enable-linger. Neither starts nor stops a VM now.",
    "disable takes the mark away, and with the last one the unit. status shows both. start and stop are what the unit runs: all that are marked and can be, stop after a minute by force. Without systemd, run `twinmetal autostart start` from your log-in or a boot script.",
    "Status: 0 done, 125 not, or not for all (the reasons are on standard error), 2 bad usage.",
  ],
  options: { json: flag("json", "With status: print one JSON object.") },
  examples: [
    ["twinmetal autostart enable box", "from the next log-in on"],
    ["twinmetal create --name web --autostart", "the same, from the beginning"],
    ["twinmetal autostart status", "what would be started, and by what"],
  ],
  execute: async (io, { values, operands: [word, ...names], rest }) => {
    const verb = VERBS.find((known) => known === word);
    if (verb === undefined || rest !== undefined)
      throw new UsageError("what? Give: twinmetal autostart enable|disable NAME, or status.");
    const isMarking = verb === "enable" || verb === "disable";
    if (isMarking && names.length === 0) throw new UsageError("which VM? Give its name; see: twinmetal ls");
    if (!isMarking && names.length > 0) throw new UsageError(`"${names[0]}" is one word too many.`);
    if (values.json && verb !== "status") throw new UsageError("--json is for status.");
    return await DO[verb](io, names, values.json === true);
  },
});

const DO: Readonly<Record<Verb, (io: Io, names: readonly string[], isJson: boolean) => Promise<number>>> = {
  enable: async (io, names) => {
    await mark(io, names, true);
    await ensureAutostart(io);
    return EXIT.OK;
  },
  disable: async (io, names) => {
    await mark(io, names, false);
    if ((await markedVms(io)).length === 0) await dropAutostart(io);
    return EXIT.OK;
  },
  status: async (io, _names, isJson) => {
    const vms = namedVms(io);
    const marked = await Promise.all((await markedVms(io)).map((name) => vms.observe(name)));
    const unit = autostartUnitPath(io.env);
    const isWritten = existsSync(unit);
    const { text, trouble } = await systemctl(io, ["is-enabled", autostartUnitName(io.env)]);
    // It says by its status that it is not, too.
    const enabled = text === "" ? undefined : text.split("\n", 1).join();
    const isLingering = lingers() ?? null;
    if (isJson) {
      const all = marked.map(({ name, state }) => ({ name, state }));
      io.stdout.write(`${JSON.stringify({ vms: all, unit, isWritten, enabled: enabled ?? null, isLingering })}\n`);
      return EXIT.OK;
    }
    const held = isWritten ? (enabled ?? `written, but ${trouble}`) : "not written";
    const when = isLingering === true ? "with the host" : "when you log in (with the host: loginctl enable-linger)";
    io.stdout.write(`unit     ${unit}: ${held}\nstarts   ${when}\n`);
    for (const { name, state } of marked) io.stdout.write(`VM       ${name}: ${state}\n`);
    if (marked.length === 0) io.stdout.write("no VM is marked: twinmetal autostart enable NAME\n");
    return EXIT.OK;
  },
  start: (io) => forMarked(io, "start", (name) => whileStarting(io, (hooks) => namedVms(io).start(name, hooks))),
  stop: (io) =>
    forMarked(io, "stop", (name) => namedVms(io).stop(name, { timeoutMs: AUTOSTART_STOP_S * 1000, force: true })),
};

async function mark(io: Io, names: readonly string[], isOn: boolean): Promise<void> {
  const vms = namedVms(io);
  for (const name of names) await vms.observe(name);
  for (const name of names) {
    await vms.change(name, (spec) => withMark(spec, isOn));
    io.stdout.write(`${name}: ${isOn ? "starts" : "does not start"} by itself\n`);
  }
}

/** All at once where they are stopped, for which there is little time; one after the other where they are started. */
async function forMarked(
  io: Io,
  verb: "start" | "stop",
  action: (name: string) => Promise<{ readonly state: LifecycleState }>,
): Promise<number> {
  const vms = namedVms(io);
  let troubles = 0;
  const one = async (name: string): Promise<void> => {
    try {
      if (!isAllowed(verb, (await vms.observe(name)).state)) return;
      io.stdout.write(`${name}: ${(await action(name)).state}\n`);
    } catch (error) {
      troubles++;
      io.stderr.write(`twinmetal: ${(error as Error).message}\n`);
    }
  };
  const names = await markedVms(io);
  if (verb === "stop") await Promise.all(names.map(one));
  else for (const name of names) await one(name);
  return troubles === 0 ? EXIT.OK : EXIT.FAILED;
}
