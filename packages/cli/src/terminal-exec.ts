/** A command in a running VM with a terminal of its own, which this one is for the time being. */
import { ByteOutput } from "./byte-output.ts";
import type { Io } from "./command.ts";
import { EXIT } from "./exit-status.ts";
import { ProgressLine } from "./progress-line.ts";
import { RawTerminal } from "./raw-terminal.ts";
import { TypedKeys } from "./typed-keys.ts";
import { UsageError } from "./usage-error.ts";

const GIVE_UP_MS = 2000;
const DEFAULT_WINDOW = { rows: 24, columns: 80 };

/** Answers with the command's status. Throws UsageError where there is no terminal. */
export async function execInTerminal(io: Io, vm: string, words: readonly string[]): Promise<number> {
  if (io.stdin.isTTY !== true || io.stdout.isTTY !== true)
    throw new UsageError(
      "standard input and output are no terminal: leave -t out, or give twinmetal exec the command.",
    );
  const output = new ByteOutput(io.stdout);
  const terminal = new RawTerminal(io);
  const left = new AbortController();
  const leave = (): void => left.abort();
  output.onGone = leave;
  const keys = new TypedKeys<Uint8Array | typeof DEFAULT_WINDOW>();
  const window = (): typeof DEFAULT_WINDOW => {
    const { rows = 0, columns = 0 } = io.stdout;
    return rows > 0 && columns > 0 ? { rows, columns } : DEFAULT_WINDOW;
  };
  const { TERM = "" } = io.env;
  const name = /^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$/.test(TERM) ? { name: TERM } : {};
  const stops = (["SIGTERM", "SIGHUP"] as const).map((signal) => io.onSignal(signal, leave));
  const line = new ProgressLine(io);
  terminal.enter({
    onInput: (bytes) => keys.push(bytes),
    onLeave: leave,
    onResize: () => keys.push(window()),
  });
  try {
    const status = await io.library.askVm(
      vm,
      { command: "exec", words, terminal: { ...window(), ...name } },
      {
        signal: left.signal,
        giveUpMs: GIVE_UP_MS,
        onSaving: (progress) => line.reportOfVm(progress),
        streams: { input: keys, onStdout: async (bytes) => void (await output.write(terminal.forTerminal(bytes))) },
      },
    );
    return typeof status === "number" ? status : EXIT.FAILED;
  } catch (error) {
    if (left.signal.aborted) return EXIT.OK;
    throw error;
  } finally {
    line.clear();
    await output.flush(1000);
    terminal.leave();
    output.dispose();
    for (const stop of stops) stop();
  }
}
