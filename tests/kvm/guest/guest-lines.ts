/** What the Linux under load writes (../load/init.sh, beat.c): "beat N" and "round N done", each in order, or what is wrong. */
import type { Vm } from "@twinmetal/host";

type Kind = "beat" | "round";

const BROKEN_KERNEL = /BUG:|WARNING:|Oops|panic|Call Trace|general protection|segfault|I\/O error/;
const MAX_OTHERS = 50;

export class GuestLines {
  readonly #counts = { beat: 0, round: 0 };
  readonly #next: Record<Kind, number> = { beat: 1, round: 0 };
  readonly #decoder = new TextDecoder();
  #rest = "";
  #wake = (): void => {};
  /** Everything that a guest in order does not write. */
  readonly wrong: string[] = [];
  /** Such as the kernel's messages. */
  readonly others: string[] = [];

  constructor(vm: Vm) {
    vm.serial.onData((bytes) => this.#take(this.#decoder.decode(bytes, { stream: true })));
    vm.on("exit", ({ kind, reason }) => {
      this.wrong.push(`the guest has ended (${kind}: ${reason})`);
      this.#wake();
    });
  }

  count(kind: Kind): number {
    return this.#counts[kind];
  }

  /** Resolves with `more` lines of the kind; rejects with what is wrong, or when it takes too long. */
  async wait(kind: Kind, more: number, limitMs: number): Promise<void> {
    const wanted = this.#counts[kind] + more;
    const deadlineMs = performance.now() + limitMs;
    while (this.#counts[kind] < wanted) {
      const leftMs = deadlineMs - performance.now();
      if (this.wrong.length > 0) throw new Error(this.wrong.join("\n"));
      if (leftMs <= 0)
        throw new Error(`no ${kind} for ${limitMs / 1000} s; the guest's other lines:\n${this.others.join("\n")}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.wrong.length > 0) throw new Error(this.wrong.join("\n"));
  }

  #take(text: string): void {
    const lines = `${this.#rest}${text}`.split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line.replace(/\r/g, ""));
    this.#wake();
  }

  #line(line: string): void {
    const [, kind, number] = /^(beat|round) (\d+)(?: done)?$/.exec(line) ?? [];
    if (kind === undefined) {
      if (line === "") return;
      if (line.includes("WRONG") || BROKEN_KERNEL.test(line)) this.wrong.push(line);
      else if (this.others.length < MAX_OTHERS) this.others.push(line);
      return;
    }
    const of = kind as Kind;
    if (Number(number) !== this.#next[of]) this.wrong.push(`${line}, where ${of} ${this.#next[of]} had to come`);
    this.#next[of] = Number(number) + 1;
    this.#counts[of]++;
  }
}
