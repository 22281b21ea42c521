/** `twinmetal replay FILE`: runs a recording again, and proves that it ends in the recorded state. */
import { ByteOutput } from "../byte-output.ts";
import { defineCommand } from "../command.ts";
import { Ending } from "../ending.ts";
import { choice, flag, option } from "../options.ts";
import { ProgressLine } from "../progress-line.ts";
import { parseTimeout } from "../quantities.ts";
import { TRANSLATION_CACHE, translationCache } from "../translation-cache.ts";
import { UsageError } from "../usage-error.ts";

const OPTIONS = {
  kernel: option("kernel", "FILE", "The kernel of the recorded run, where that was no image's."),
  firmware: option("firmware", "FILE", "The firmware of the recorded run, where that was none of Debian's."),
  initrd: option("initrd", "FILE", "Its initial RAM disk."),
  state: option("state", "FILE", "The saved VM that the recording begins with (`twinmetal restore --record`)."),
  tier: choice(
    "tier",
    ["auto", "interp", "jit"],
    "auto (default): interpret, and translate what is hot. interp, jit: one of the two always, to compare.",
  ),
  translationCache: TRANSLATION_CACHE,
  timeout: option("timeout", "TIME", "Give up after so many seconds (or 5m, 1h), status 124.", parseTimeout),
  quiet: flag("quiet", "Only the result, without what the guest wrote to its console.", "q"),
  json: flag("json", "The result as JSON on standard output; implies --quiet."),
};

export const REPLAY = defineCommand({
  name: "replay",
  summary: "run a recording again, to the same state",
  usage: "FILE [options]",
  text: [
    "FILE is what `twinmetal run --record FILE` has written. The guest's console goes to standard output, as it did then; nothing is read from standard input. The replay is checked on its way and at its end: the result is the SHA-256 over the machine's whole state, equal to the recorded one.",
    "Status: 0 when it is equal, 125 when it is not, or the recording cannot be used, 124 time-out, 128+n ended by signal n, 2 bad usage.",
  ],
  options: OPTIONS,
  examples: [
    ["twinmetal run --record bug.rec", "do what leads to it, then poweroff or Ctrl-]"],
    ["twinmetal replay bug.rec", "see it again, as often as needed"],
  ],
  execute: async (io, { values, operands: [path, extra], rest }) => {
    if (path === undefined) throw new UsageError("which file? Give a recording: twinmetal replay FILE.");
    if (extra !== undefined || rest !== undefined)
      throw new UsageError(`"${extra ?? "--"}" is one word too many: replay takes one FILE.`);
    const { kernel, initrd, firmware, state, tier, timeout, quiet, json } = values;
    const cache = translationCache(values.translationCache, io.env);
    const ending = new Ending(io, timeout);
    const progress = new ProgressLine(io);
    const output = new ByteOutput(io.stdout);
    try {
      if (quiet || json || !io.stdout.isTTY) progress.waitFor("replaying");
      const { signal } = ending;
      const onSerial = quiet || json ? undefined : (bytes: Uint8Array) => void output.write(bytes);
      const result = await io.library.replayVm(path, {
        kernel,
        firmware,
        initrd,
        state,
        tier,
        translationCache: cache,
        signal,
        onSerial,
      });
      progress.clear();
      if (json) await output.write(`${JSON.stringify(result)}\n`);
      await output.flush();
      if (!json) {
        io.stderr.write(
          `twinmetal: replayed ${result.retired} instructions, to the recorded state ${result.stateHash}\n`,
        );
      }
      return 0;
    } catch (error) {
      const { cause } = ending;
      if (cause === undefined) throw error;
      progress.clear();
      if (cause.message !== "") io.stderr.write(`twinmetal: ${cause.message}\n`);
      return cause.status;
    } finally {
      progress.clear();
      output.dispose();
      ending.dispose();
    }
  },
});
