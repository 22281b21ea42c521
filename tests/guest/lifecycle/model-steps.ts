/** Steps of the life cycle's model, one by one and several at once, as fast-check makes them. */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect } from "vitest";
import { foresee, KINDS, killQuietly, type Model, type Reality, type Step, type Verb } from "./model.ts";

const NAMES = ["a", "b", "c", "d"];
/** The more often a verb is here, the more often it is done. */
const VERBS: readonly Verb[] = [
  ...(["create", "create", "start", "start", "start", "stop", "kill", "pause", "resume", "reset"] as const),
  ...(["save", "save", "clone", "clone", "rename", "rm", "write", "write", "die"] as const),
];

const name = fc.constantFrom(...NAMES);
const step: fc.Arbitrary<Step> = fc.record({
  verb: fc.constantFrom(...VERBS),
  name,
  to: name,
  kind: fc.constantFrom("asleep", "asleep", "asleep", ...KINDS),
  word: fc.integer({ min: 1, max: 0xffff_ffff }),
});

type Command = fc.AsyncCommand<Model, Reality>;

async function agree(model: Model, real: Reality): Promise<void> {
  const seen = [...(await real.settled())].map(([key, { state, word }]) => [key, { state, word }] as const);
  const known = [...model].map(([key, { state, word }]) => [key, { state, word }] as const);
  expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(known));
}

/** One at a time: the model foretells everything. */
class One implements Command {
  readonly #step: Step;
  constructor(given: Step) {
    this.#step = given;
  }

  /** A step at no VM is of use now and then; two names that are one are none. */
  check(model: Readonly<Model>): boolean {
    const { verb, name: at, to } = this.#step;
    return (verb === "create" || model.has(at)) && (at !== to || (verb !== "clone" && verb !== "rename"));
  }

  async run(model: Model, real: Reality): Promise<void> {
    const may = foresee(model, this.#step);
    expect(await real.step(this.#step)).toBe(may);
    await agree(model, real);
  }

  toString(): string {
    return textOf(this.#step);
  }
}

/**
 * Several at once, and perhaps a kill of a VM's process, or of a command's, in their midst. What comes of them is not foretold,
 * but: every VM is there that nobody removed, is in a state that it can be left in, and has its disk.
 */
class Several implements Command {
  readonly #steps: readonly Step[];
  readonly #killed: { readonly at: string; readonly afterMs: number } | undefined;
  /** By the program, and killed as well. */
  readonly #command: readonly string[] | undefined;

  constructor(
    steps: readonly Step[],
    killed: { readonly at: string; readonly afterMs: number } | undefined,
    command?: readonly string[],
  ) {
    this.#steps = steps;
    this.#killed = killed;
    this.#command = command;
  }

  check(model: Readonly<Model>): boolean {
    return model.size > 0;
  }

  async run(model: Model, real: Reality): Promise<void> {
    const before = await real.settled();
    const steps = this.#steps.filter(({ verb }) => verb !== "write" && verb !== "die");
    const child = this.#command && real.program(this.#command);
    const ended = new Promise<void>((resolve) => (child ? child.once("exit", () => resolve()) : resolve()));
    const done = Promise.allSettled([...steps.map((each) => real.step(each)), ended]);
    if (this.#killed) {
      await sleep(this.#killed.afterMs);
      const { pid } = await real.vms.observe(this.#killed.at).catch(() => ({ pid: undefined }));
      if (pid) killQuietly(pid);
      child?.kill("SIGKILL");
    }
    await done;
    this.#learn(model, before, await real.settled());
  }

  #learn(
    model: Model,
    before: Awaited<ReturnType<Reality["settled"]>>,
    after: Awaited<ReturnType<Reality["settled"]>>,
  ): void {
    const removed = [...this.#steps.filter(({ verb }) => verb === "rm"), ...(this.#command?.[0] === "rm" ? [{}] : [])];
    const words = new Map([...before.values()].map(({ id, word }) => [id, word]));
    const ids = new Set([...after.values()].map(({ id }) => id));
    const lost = [...before.values()].filter(({ id }) => !ids.has(id));
    expect(lost.length).toBeLessThanOrEqual(removed.length);
    const known = [...words.values()];
    model.clear();
    for (const [key, { id, kind, state, word }] of after) {
      expect(["off", "crashed", "saved", "running", "paused"]).toContain(state);
      const old = words.get(id);
      // A VM that is new is empty, or a clone.
      if (old !== undefined) expect({ key, word }).toEqual({ key, word: old });
      else expect([0, ...known]).toContain(word);
      model.set(key, { kind, state, word });
    }
  }

  toString(): string {
    const killed = this.#killed ? ` kill -9 ${this.#killed.at} after ${this.#killed.afterMs} ms` : "";
    return `[${this.#steps.map(textOf).join(" | ")}]${killed} ${this.#command?.join(" ") ?? ""}`;
  }
}

function textOf({ verb, name: at, to, kind, word }: Step): string {
  if (verb === "create") return `create ${at} (${kind})`;
  if (verb === "write") return `write ${word} to ${at}`;
  return verb === "clone" || verb === "rename" ? `${verb} ${at} ${to}` : `${verb} ${at}`;
}

const killed = fc.record({ at: name, afterMs: fc.integer({ min: 0, max: 600 }) });
const several = fc.array(step, { minLength: 2, maxLength: 3 });
const words = fc.oneof(
  fc.tuple(fc.constantFrom("start", "kill", "save", "rm"), name),
  fc.tuple(fc.constantFrom("clone", "rename"), name, name),
);

const one = step.map((each): Command => new One(each));

/** Always the same ones, one after the other. */
export function calmSteps(seed: number, count: number): readonly Command[] {
  return fc.sample(one, { seed, numRuns: count });
}

/** Without end, with several at once, and kills. */
export function* wildSteps(seed: number): Generator<Command> {
  const wild = fc.oneof(
    { weight: 3, arbitrary: one },
    {
      weight: 2,
      arbitrary: fc
        .tuple(several, fc.option(killed, { nil: undefined }))
        .map(([steps, kill]): Command => new Several(steps, kill)),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(step, killed, words)
        .map(([each, kill, command]): Command => new Several([each], kill, command)),
    },
  );
  for (let batch = 0; ; batch++) yield* fc.sample(wild, { seed: seed + batch, numRuns: 100 });
}
