/**
 * The guest's serial console on standard input and output.
 *
 * On a terminal: raw mode, the window's size followed, Ctrl-] leaves. Otherwise bytes go through as they are; where the
 * guest's shell is ours (`endsWithInput`), the end of the input becomes the end of its shell, which turns the VM off.
 */
import { ByteOutput } from "./byte-output.ts";
import type { Io } from "./command.ts";
import type { Ending } from "./ending.ts";
import type { ProgressLine } from "./progress-line.ts";
import { RawTerminal } from "./raw-terminal.ts";
import { type Outcome, orTrouble } from "./session.ts";
import type { Vm } from "./vm-library.ts";
import { WindowSize } from "./window-size.ts";

const END_OF_TRANSMISSION = "\x04";
const FIRST_REPEAT_MS = 500;
const MAX_REPEAT_MS = 15_000;
/** Most guests whose input ends turn off right after. */
const SAY_AFTER_MS = 3000;
/** A guest's serial driver empties the port's FIFO when it starts; what was typed before would be lost. */
const SETTLED_MS = 300;
const MAX_SETTLING_MS = 10_000;

export interface ConsoleOptions {
  /** The guest has Twinmetal's agent. */
  readonly hasAgent: boolean;
  /** The guest turns off when its shell ends. */
  readonly endsWithInput: boolean;
  readonly progress: ProgressLine;
  /** Resolves when the run has to end for a reason beside the guest. */
  readonly trouble: Promise<Error>;
}

/** Starts the VM. Resolves with undefined when `ending` came first. The terminal is whole again either way. */
export async function runConsole(
  io: Io,
  vm: Vm,
  ending: Ending,
  options: ConsoleOptions,
): Promise<Outcome | undefined> {
  const { progress } = options;
  const output = new ByteOutput(io.stdout);
  const terminal = new RawTerminal(io);
  const isTerminal = io.stdin.isTTY === true;
  const iterator = vm.serial.output[Symbol.asyncIterator]();
  const pump = (async () => {
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
      progress.clear();
      await output.write(terminal.forTerminal(next.value));
    }
  })();
  pump.catch(() => {}); // The guest's end is told by wait().
  const outcomes = new Promise<Outcome>((resolve, reject) => {
    output.onGone = (code) => resolve({ kind: "output-gone", code });
    vm.wait().then((exit) => resolve({ kind: "guest", exit }), reject);
    if (!isTerminal) return;
    const size = options.hasAgent ? new WindowSize(io.stdout, vm) : undefined;
    size?.update();
    terminal.enter({
      onInput: (bytes) => void vm.serial.write(bytes),
      onLeave: () => resolve({ kind: "left" }),
      onResize: () => size?.update(),
    });
  });
  try {
    await vm.start();
    progress.waitFor("the guest is starting");
    if (!isTerminal) feed(io, vm, options).catch(() => {});
    const outcome = await ending.race(orTrouble(outcomes, options.trouble));
    if (outcome?.kind === "guest") await ending.race(pump.catch(() => {}));
    return outcome;
  } finally {
    progress.clear();
    await output.flush(1000);
    terminal.leave();
    output.dispose();
    await iterator.return?.();
  }
}

/** Standard input that is no terminal, to its end. */
async function feed(io: Io, vm: Vm, options: ConsoleOptions): Promise<void> {
  await settled(vm, options.hasAgent);
  let lastByte = 0x0a;
  try {
    for await (const data of io.stdin) {
      const bytes = typeof data === "string" ? Buffer.from(data) : data;
      lastByte = bytes.at(-1) ?? lastByte;
      await vm.serial.write(new Uint8Array(bytes));
    }
  } catch (error) {
    io.stderr.write(`twinmetal: standard input cannot be read (${(error as NodeJS.ErrnoException).code}).\n`);
  }
  if (!options.endsWithInput) {
    await pause(SAY_AFTER_MS);
    if (vm.state !== "running") return;
    io.stderr.write("twinmetal: standard input has ended; the VM goes on until its guest turns off (see --timeout).\n");
    return;
  }
  if (lastByte !== 0x0a && lastByte !== 0x0d) await vm.serial.write("\n");
  // A program that still reads the console takes one for itself.
  for (let pauseMs = FIRST_REPEAT_MS; vm.state === "running"; pauseMs = Math.min(pauseMs * 2, MAX_REPEAT_MS)) {
    await vm.serial.write(END_OF_TRANSMISSION);
    await pause(pauseMs);
  }
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, timeMs).unref());
}

/** Resolves when somebody listens at the guest's end, as far as that can be known. */
async function settled(vm: Vm, hasAgent: boolean): Promise<void> {
  if (hasAgent) {
    await vm.serial.waitFor(/[#$] /);
    return;
  }
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stop();
      resolve();
    };
    let timer = setTimeout(done, MAX_SETTLING_MS);
    const stop = vm.serial.onData(() => {
      clearTimeout(timer);
      timer = setTimeout(done, SETTLED_MS);
    });
  });
}
