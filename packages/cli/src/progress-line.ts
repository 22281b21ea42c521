/**
 * Progress on standard error: one line that rewrites itself where that is a terminal, a plain line for each phase where
 * it is not. Nothing is shown for what is over in a moment.
 */
import { AGENT_PHASE } from "@twinmetal/host";
import type { Io } from "./command.ts";
import { formatSize } from "./quantities.ts";
import type { VmProgress } from "./vm-library.ts";

const PHASES: Readonly<Record<string, string>> = {
  lists: "first use: fetching Debian's package lists",
  download: "first use: downloading Debian packages",
  unpack: "first use: unpacking",
  assemble: "first use: putting the image together",
  configure: "first use: configuring Debian's packages in a VM, which takes some minutes",
  restore: "restoring",
  save: "saving",
  replay: "replaying",
  check: "checking",
  convert: "converting",
  copy: "copying",
};
/** Phases whose numbers are bytes. */
const IN_BYTES: ReadonlySet<string> = new Set(["download", "unpack", "save", "restore", "convert", "copy"]);
const SHOW_AFTER_MS = 500;
const REDRAW_MS = 100;
const BAR_CELLS = 24;

export class ProgressLine {
  readonly #io: Pick<Io, "stderr">;
  readonly #now: () => number;
  #firstMs: number | undefined;
  #drawnMs = 0;
  #phase = "";
  #isDrawn = false;
  #ticker: NodeJS.Timeout | undefined;

  constructor(io: Pick<Io, "stderr">, now: () => number = () => performance.now()) {
    this.#io = io;
    this.#now = now;
  }

  report(progress: VmProgress): void {
    this.#stopTicking();
    const nowMs = this.#now();
    this.#firstMs ??= nowMs;
    const isNewPhase = progress.phase !== this.#phase;
    this.#phase = progress.phase;
    const text = PHASES[progress.phase] ?? progress.phase;
    if (!this.#io.stderr.isTTY) {
      if (isNewPhase) this.#io.stderr.write(`twinmetal: ${text}\n`);
      return;
    }
    if (nowMs - this.#firstMs < SHOW_AFTER_MS || (!isNewPhase && nowMs - this.#drawnMs < REDRAW_MS)) return;
    this.#draw(`${text}${describe(progress)}`);
  }

  /** Something whose end is not known: seconds count up, on a terminal. */
  waitFor(what: string): void {
    this.#stopTicking();
    if (!this.#io.stderr.isTTY) return;
    const startMs = this.#now();
    this.#ticker = setInterval(() => {
      this.#draw(`${what}: ${Math.round((this.#now() - startMs) / 1000)} s`);
    }, 1000);
    this.#ticker.unref();
  }

  /** What a VM's process tells while its guest's agent is waited for, which has its seconds counted. Else as `report`. */
  reportOfVm(progress: VmProgress): void {
    if (progress.phase !== AGENT_PHASE) this.report(progress);
    else if (progress.done > 0) this.clear();
    else this.waitFor("waiting for the guest to start");
  }

  /** Takes the line away. Anything else that goes to the terminal comes after this. */
  clear(): void {
    this.#stopTicking();
    if (this.#isDrawn) this.#io.stderr.write("\r\x1b[K");
    this.#isDrawn = false;
    this.#firstMs = undefined;
    this.#phase = "";
  }

  #stopTicking(): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  #draw(text: string): void {
    const columns = Math.max(20, this.#io.stderr.columns || 80);
    this.#io.stderr.write(`\r${`twinmetal: ${text}`.slice(0, columns - 1)}\x1b[K`);
    this.#isDrawn = true;
    this.#drawnMs = this.#now();
  }
}

function describe({ phase, done, total }: VmProgress): string {
  const isInBytes = IN_BYTES.has(phase);
  if (total === undefined || total <= 0) return isInBytes && done > 0 ? `: ${formatSize(done)}` : "";
  const part = Math.min(1, Math.max(0, done / total));
  const cells = Math.round(part * BAR_CELLS);
  const bar = `${"#".repeat(cells)}${".".repeat(BAR_CELLS - cells)}`;
  const percent = `${Math.floor(part * 100)}`.padStart(3);
  return ` [${bar}] ${percent} %${isInBytes ? ` of ${formatSize(total)}` : ""}`;
}
